#include "crash_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lares::daemon::store::test {
namespace {

constexpr std::size_t kSector = 512;

std::string dir_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

class CrashFile final : public File {
 public:
  CrashFile(CrashDisk& disk, std::string path, CrashDisk::NodePtr node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)) {}
  DiskResult<std::size_t> read(std::span<std::byte> into, std::uint64_t offset) const override {
    if (disk_.read_error_ != 0) {
      if (disk_.reads_left_ == 0) return tl::unexpected(disk_.read_error_);
      --disk_.reads_left_;
    }
    if (offset >= node_->live.size()) return 0;
    const std::size_t n = std::min<std::size_t>(into.size(), node_->live.size() - offset);
    std::memcpy(into.data(), node_->live.data() + offset, n);
    return n;
  }
  DiskResult<std::size_t> write(std::span<const std::byte> bytes, std::uint64_t offset) override {
    bool shorten = false;
    const bool was_dead = disk_.dead_;
    const int error = disk_.step("write " + path_, &shorten);
    // A write that the machine died in may have got as far as the disk.
    if (error != 0 && (was_dead || !disk_.dead_)) return tl::unexpected(error);
    if (shorten && bytes.size() > kSector)
      bytes = bytes.first(bytes.size() / 2 / kSector * kSector);
    CrashDisk::apply(node_->live, offset, bytes);
    node_->unsynced.push_back({offset, Bytes(bytes.begin(), bytes.end())});
    if (error != 0) return tl::unexpected(error);
    return bytes.size();
  }
  DiskResult<> reserve(std::uint64_t) override {
    if (const int error = disk_.step("reserve " + path_); error != 0) return tl::unexpected(error);
    return {};
  }
  DiskResult<> sync() override {
    const bool was_dead = disk_.dead_;
    const int error = disk_.step("sync " + path_);
    if (was_dead || (error != 0 && disk_.dead_)) return tl::unexpected(error);
    // As Linux does: pages that could not be written are clean afterwards, and a second sync would
    // say that all is well.
    if (error == 0)
      for (const auto& w : node_->unsynced) CrashDisk::apply(node_->durable, w.offset, w.bytes);
    node_->unsynced.clear();
    if (error != 0) return tl::unexpected(error);
    return {};
  }
  DiskResult<std::uint64_t> size() const override { return node_->live.size(); }

 private:
  CrashDisk& disk_;
  std::string path_;
  CrashDisk::NodePtr node_;
};

namespace {

class Lock final : public File {
 public:
  Lock(std::set<std::string>& locks, std::string path, std::shared_ptr<int> life)
      : locks_(locks), path_(std::move(path)), life_(std::move(life)), born_(*life_) {}
  ~Lock() override {
    if (born_ == *life_) locks_.erase(path_);
  }
  DiskResult<std::size_t> read(std::span<std::byte>, std::uint64_t) const override { return 0; }
  DiskResult<std::size_t> write(std::span<const std::byte>, std::uint64_t) override {
    return tl::unexpected(EBADF);
  }
  DiskResult<> reserve(std::uint64_t) override { return {}; }
  DiskResult<> sync() override { return {}; }
  DiskResult<std::uint64_t> size() const override { return 0; }

 private:
  std::set<std::string>& locks_;
  std::string path_;
  std::shared_ptr<int> life_;
  int born_;
};

}  // namespace

CrashDisk::CrashDisk() { dirs_["/"]; }

CrashDisk::CrashDisk(const Files& files) : CrashDisk() {
  for (const auto& [path, bytes] : files) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string dir = path.substr(0, slash);
      if (dirs_.contains(dir)) continue;
      auto node = std::make_shared<Node>();
      node->directory = true;
      dirs_[dir_of(dir)].live[name_of(dir)] = node;
      dirs_[dir_of(dir)].durable[name_of(dir)] = node;
      dirs_[dir];
    }
    auto node = std::make_shared<Node>();
    node->live = node->durable = bytes;
    dirs_[dir_of(path)].live[name_of(path)] = node;
    dirs_[dir_of(path)].durable[name_of(path)] = node;
  }
}

void CrashDisk::plan(const Fault& fault) {
  fault_ = fault;
  n_ = 0;
  log_.clear();
}

int CrashDisk::step(const std::string& what, bool* shorten) {
  if (dead_) return EIO;
  log_.push_back(what);
  if (!fault_.only.empty() && fault_.only != what) return 0;
  ++n_;
  const bool now = fault_.kind != Fault::Kind::none &&
                   (fault_.lasting ? n_ >= fault_.at : n_ == fault_.at);
  if (!now) return 0;
  switch (fault_.kind) {
    case Fault::Kind::die:
      dead_ = true;
      return EIO;
    case Fault::Kind::error:
      return fault_.error;
    case Fault::Kind::short_write:
      if (shorten) *shorten = true;
      return 0;
    case Fault::Kind::none:
      break;
  }
  return 0;
}

void CrashDisk::apply(Bytes& to, std::uint64_t offset, std::span<const std::byte> bytes) {
  if (to.size() < offset + bytes.size()) to.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(offset));
}

void CrashDisk::change(const std::string& dir, const std::map<std::string, NodePtr>& names) {
  Dir& d = dirs_[dir];
  for (const auto& [name, node] : names) {
    if (node)
      d.live[name] = node;
    else
      d.live.erase(name);
  }
  d.unsynced.push_back(names);
}

CrashDisk::NodePtr CrashDisk::find(const std::string& path) const {
  const auto dir = dirs_.find(dir_of(path));
  if (dir == dirs_.end()) return nullptr;
  const auto entry = dir->second.live.find(name_of(path));
  return entry == dir->second.live.end() ? nullptr : entry->second;
}

DiskResult<std::unique_ptr<File>> CrashDisk::create(const std::string& path, Cache) {
  if (const int error = step("create " + path); error != 0) return tl::unexpected(error);
  if (find(path)) return tl::unexpected(EEXIST);
  if (!dirs_.contains(dir_of(path))) return tl::unexpected(ENOENT);
  auto node = std::make_shared<Node>();
  change(dir_of(path), {{name_of(path), node}});
  return std::make_unique<CrashFile>(*this, path, node);
}

DiskResult<std::unique_ptr<File>> CrashDisk::open(const std::string& path, Cache) {
  if (dead_) return tl::unexpected(EIO);
  const auto node = find(path);
  if (!node) return tl::unexpected(ENOENT);
  return std::make_unique<CrashFile>(*this, path, node);
}

DiskResult<> CrashDisk::rename(const std::string& from, const std::string& to) {
  if (const int error = step("rename " + from); error != 0) return tl::unexpected(error);
  const auto node = find(from);
  if (!node || !dirs_.contains(dir_of(to))) return tl::unexpected(ENOENT);
  if (dir_of(from) == dir_of(to)) {
    change(dir_of(from), {{name_of(from), nullptr}, {name_of(to), node}});
  } else {
    change(dir_of(to), {{name_of(to), node}});
    change(dir_of(from), {{name_of(from), nullptr}});
  }
  return {};
}

DiskResult<> CrashDisk::unlink(const std::string& path) {
  if (const int error = step("unlink " + path); error != 0) return tl::unexpected(error);
  if (!find(path)) return tl::unexpected(ENOENT);
  change(dir_of(path), {{name_of(path), nullptr}});
  return {};
}

DiskResult<> CrashDisk::make_dir(const std::string& path) {
  if (const int error = step("make_dir " + path); error != 0) return tl::unexpected(error);
  if (dirs_.contains(path)) return {};
  if (!dirs_.contains(dir_of(path))) return tl::unexpected(ENOENT);
  auto node = std::make_shared<Node>();
  node->directory = true;
  change(dir_of(path), {{name_of(path), node}});
  dirs_[path];
  return {};
}

DiskResult<> CrashDisk::sync_dir(const std::string& path) {
  const bool was_dead = dead_;
  const int error = step("sync_dir " + path);
  if (was_dead || (error != 0 && dead_)) return tl::unexpected(error);
  const auto dir = dirs_.find(path);
  if (dir == dirs_.end()) return tl::unexpected(ENOENT);
  if (error != 0) return tl::unexpected(error);
  dir->second.durable = dir->second.live;
  dir->second.unsynced.clear();
  return {};
}

DiskResult<std::vector<DirEntry>> CrashDisk::list(const std::string& path) {
  if (dead_) return tl::unexpected(EIO);
  const auto dir = dirs_.find(path);
  if (dir == dirs_.end()) return tl::unexpected(ENOENT);
  std::vector<DirEntry> out;
  for (const auto& [name, node] : dir->second.live)
    out.push_back({name, node->directory, node->live.size()});
  return out;
}

DiskResult<std::unique_ptr<File>> CrashDisk::lock(const std::string& path) {
  if (dead_) return tl::unexpected(EIO);
  if (!locks_.insert(path).second) return tl::unexpected(EWOULDBLOCK);
  return std::make_unique<Lock>(locks_, path, life_);
}

void CrashDisk::kill_process() {
  ++*life_;
  locks_.clear();
  dead_ = false;
  fault_ = {};
  n_ = 0;
  log_.clear();
}

void CrashDisk::lose_power(Keep keep, unsigned seed) {
  std::mt19937 random(seed);
  const auto kept = [&] { return keep == Keep::all || (keep == Keep::some && random() % 2 == 0); };
  std::set<Node*> done;
  for (auto& [path, dir] : dirs_) {
    for (const auto& names : dir.unsynced) {
      if (!kept()) continue;
      for (const auto& [name, node] : names) {
        if (node)
          dir.durable[name] = node;
        else
          dir.durable.erase(name);
      }
    }
    dir.unsynced.clear();
    dir.live = dir.durable;
    for (const auto& [name, node] : dir.durable) {
      if (!done.insert(node.get()).second) continue;
      for (const Write& w : node->unsynced)
        for (std::size_t at = 0; at < w.bytes.size(); at += kSector)
          if (kept())
            apply(node->durable, w.offset + at,
                  std::span(w.bytes).subspan(at, std::min(kSector, w.bytes.size() - at)));
      node->unsynced.clear();
      node->live = node->durable;
    }
  }
  // What is in a directory whose own name was lost is lost with it.
  for (auto it = dirs_.begin(); it != dirs_.end();)
    it = it->first == "/" || find(it->first) ? std::next(it) : dirs_.erase(it);
  kill_process();
}

Files CrashDisk::files() const {
  Files out;
  for (const auto& [path, dir] : dirs_)
    for (const auto& [name, node] : dir.live)
      if (!node->directory) out[path + "/" + name] = node->live;
  return out;
}

}  // namespace lares::daemon::store::test
