#include "engine/model/checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

tl::unexpected<Error> malformed(std::string message) {
  return tl::unexpected(Error{Errc::malformed, std::move(message)});
}

// name -> shard file name, from the index, or from the one shard of a checkpoint that has none.
Result<std::map<std::string, std::string>> read_index(const std::string& directory,
                                                      std::vector<std::string>& files) {
  const std::string path = directory + "/model.safetensors.index.json";
  std::map<std::string, std::string> where;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 &&
      ::stat((directory + "/model.safetensors").c_str(), &st) == 0) {
    files = {"model.safetensors"};
    return where;
  }
  const auto text = read_text(path, kIndexBytesMax);
  if (!text) return tl::unexpected(text.error());
  if (std::count(text->begin(), text->end(), '[') + std::count(text->begin(), text->end(), '{') >
      10000)
    return malformed(fmt::format("read {}: not a plausible index", path));
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return malformed(fmt::format("read {}: no weight_map object", path));
  if (json["weight_map"].size() > kTensorsMax)
    return malformed(fmt::format("read {}: more than {} tensors", path, kTensorsMax));
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string())
      return malformed(fmt::format("read {}: tensor {:.200} names no file", path, name));
    const auto& shard = file.get_ref<const std::string&>();
    if (shard.empty() || shard[0] == '.' || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos)
      return malformed(
          fmt::format("read {}: tensor {:.200} names the file {:.100}, which is not a plain name",
                      path, name, file.dump()));
    where.emplace(name, shard);
    files.push_back(shard);
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  if (files.empty() || files.size() > kShardsMax)
    return malformed(fmt::format("read {}: {} shards", path, files.size()));
  return where;
}

// "a, b and 7 others are not there"; empty: at most one is missing, which whoever opens it says.
std::string missing_files(const std::string& directory, const std::vector<std::string>& files) {
  constexpr std::size_t kNamed = 5;
  std::string out;
  std::size_t n = 0;
  struct stat st;
  for (const std::string& file : files) {
    if (::stat(fmt::format("{}/{}", directory, file).c_str(), &st) == 0 || errno != ENOENT)
      continue;
    if (++n <= kNamed) out += (n > 1 ? ", " : "") + file;
  }
  if (n > kNamed) out += fmt::format(" and {} others", n - kNamed);
  return n < 2 ? "" : fmt::format("{} are not there, {} of {} shards", out, n, files.size());
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::string& directory, const Progress& progress) {
  Checkpoint c;
  c.directory_ = directory;
  const std::string config_path = directory + "/config.json";
  const auto text = read_text(config_path, kConfigBytesMax);
  if (!text) return tl::unexpected(text.error());
  auto config = parse_config(*text, config_path);
  if (!config) return tl::unexpected(config.error());
  c.config_ = std::move(*config);
  const auto where = read_index(directory, c.shard_names_);
  if (!where) return tl::unexpected(where.error());
  if (const std::string missing = missing_files(directory, c.shard_names_); !missing.empty())
    return tl::unexpected(Error{
        Errc::not_found, fmt::format("open {}: {}; fetch what is missing", directory, missing)});
  const auto n_shards = static_cast<std::int64_t>(c.shard_names_.size());
  for (const auto& file : c.shard_names_) {
    auto shard = open_shard(directory + "/" + file);
    if (!shard) return tl::unexpected(shard.error());
    c.shards_.push_back(std::move(*shard));
    for (const auto& [name, tensor] : c.shards_.back().tensors) {
      const auto at = where->find(name);
      const bool listed = where->empty() || at != where->end();
      if (at != where->end() && at->second != file) continue;  // the index says elsewhere
      if (!c.entries_.emplace(name, Entry{name, file, &tensor, listed}).second)
        return malformed(fmt::format("load {}/{}, tensor {}: it is in {} too", directory, file,
                                     name, c.entries_.find(name)->second.file));
    }
    if (progress) progress(static_cast<std::int64_t>(c.shards_.size()), n_shards);
  }
  for (const auto& [name, file] : *where)
    if (!c.has(name))
      return malformed(
          fmt::format("load {}/{}, tensor {}: the index says it is there, the file does not have "
                      "it; fetch the file again",
                      directory, file, name));
  return c;
}

Result<const Tensor*> Checkpoint::take(const std::string& name, std::initializer_list<Dtype> dtypes,
                                       const std::vector<std::int64_t>& shape) {
  std::string expected = shape_text(shape);
  for (const Dtype d : dtypes)
    expected += fmt::format("{}{}", d == *dtypes.begin() ? " " : " or ", dtype_name(d));
  const auto at = entries_.find(name);
  if (at == entries_.end())
    return tl::unexpected(Error{
        Errc::not_found, fmt::format("load {}, tensor {}: missing from every shard, expected {}",
                                     directory_, name, expected)});
  Entry& entry = at->second;
  if (!entry.listed)
    return malformed(
        fmt::format("load {}/{}, tensor {}: model.safetensors.index.json does not list it; fetch "
                    "the index again",
                    directory_, entry.file, name));
  const bool dtype_fits = std::find(dtypes.begin(), dtypes.end(), entry.tensor->dtype) !=
                          dtypes.end();
  if (!dtype_fits || entry.tensor->shape != shape)
    return malformed(fmt::format("load {}/{}, tensor {}: expected {}, found {} {}", directory_,
                                 entry.file, name, expected, shape_text(entry.tensor->shape),
                                 dtype_name(entry.tensor->dtype)));
  entry.used = true;
  return entry.tensor;
}

template <class T>
const T* Checkpoint::aligned(const Tensor& tensor) {
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % alignof(T) == 0)
    return reinterpret_cast<const T*>(tensor.data);
  auto& copy = owned_.emplace_back((tensor.n_bytes + 7) / 8);
  std::memcpy(copy.data(), tensor.data, tensor.n_bytes);
  return reinterpret_cast<const T*>(copy.data());
}

Result<kernels::Matrix> Checkpoint::matrix(const std::string& name,
                                           std::initializer_list<Dtype> dtypes, int n_out,
                                           int n_in) {
  const auto at = entries_.find(name + ".weight");
  const bool packed = at != entries_.end() && at->second.tensor->dtype == Dtype::i8;
  const auto weight = take(name + ".weight", dtypes, {n_out, packed ? n_in / 2 : n_in});
  if (!weight) return tl::unexpected(weight.error());
  kernels::Matrix m;
  m.n_out = n_out;
  m.n_in = n_in;
  switch ((*weight)->dtype) {
    case Dtype::f32:
      m.format = kernels::Format::f32;
      m.data = aligned<float>(**weight);
      return m;
    case Dtype::bf16:
      m.format = kernels::Format::bf16;
      m.data = aligned<std::uint16_t>(**weight);
      return m;
    case Dtype::i8: {
      m.format = kernels::Format::fp4;
      m.data = (*weight)->data;
      const auto scale = take(name + ".scale", {Dtype::f8_e8m0}, {n_out, n_in / 32});
      if (!scale) return tl::unexpected(scale.error());
      m.scale = (*scale)->data;
      return m;
    }
    default: {
      m.format = kernels::Format::fp8;
      m.data = (*weight)->data;
      const auto scale = take(name + ".scale", {Dtype::f8_e8m0, Dtype::f32},
                              {(n_out + 127) / 128, (n_in + 127) / 128});
      if (!scale) return tl::unexpected(scale.error());
      if ((*scale)->dtype == Dtype::f32)
        m.scale_f32 = aligned<float>(**scale);
      else
        m.scale = (*scale)->data;
      return m;
    }
  }
}

Result<kernels::Matrix> Checkpoint::plain_matrix(const std::string& name, int n_out, int n_in) {
  const auto weight = take(name, {Dtype::f32}, {n_out, n_in});
  if (!weight) return tl::unexpected(weight.error());
  kernels::Matrix m;
  m.data = aligned<float>(**weight);
  m.n_out = n_out;
  m.n_in = n_in;
  return m;
}

Result<const float*> Checkpoint::floats(const std::string& name,
                                        const std::vector<std::int64_t>& shape) {
  const auto tensor = take(name, {Dtype::bf16, Dtype::f32}, shape);
  if (!tensor) return tl::unexpected(tensor.error());
  if ((*tensor)->dtype == Dtype::f32) return aligned<float>(**tensor);
  auto& out = owned_floats_.emplace_back((*tensor)->n_bytes / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t v;
    std::memcpy(&v, (*tensor)->data + 2 * i, 2);
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
  }
  return out.data();
}

Result<const std::int64_t*> Checkpoint::ids(const std::string& name,
                                            const std::vector<std::int64_t>& shape,
                                            std::int64_t limit) {
  const auto tensor = take(name, {Dtype::i64}, shape);
  if (!tensor) return tl::unexpected(tensor.error());
  const auto* values = aligned<std::int64_t>(**tensor);
  for (std::size_t i = 0; i < (*tensor)->n_bytes / 8; ++i)
    if (values[i] < 0 || values[i] >= limit)
      return malformed(fmt::format("load {}/{}, tensor {}: value {} at {}, expected 0 to {}",
                                   directory_, entries_.find(name)->second.file, name, values[i], i,
                                   limit - 1));
  return values;
}

}  // namespace lares::engine
