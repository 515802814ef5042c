#include "engine/model/checkpoint/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

struct DtypeRow {
  const char* name;
  std::size_t size;
};
constexpr DtypeRow kDtypes[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2},    {"F64", 8},     {"I64", 8},     {"I32", 4}, {"I16", 2},
    {"I8", 1},  {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"BOOL", 1}};
constexpr const char* kWhy = "the file is damaged or not safetensors; fetch it again";

static_assert(std::endian::native == std::endian::little,
              "tensors are read as they lie in the file");

template <class... Args>
tl::unexpected<Error> malformed(fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected(Error{Errc::malformed, fmt::format(text, std::forward<Args>(args)...)});
}

// A whole number that is not negative.
const std::uint64_t* natural(const nlohmann::json& value) {
  return value.get_ptr<const nlohmann::json::number_unsigned_t*>();
}

Result<Tensor> parse_tensor(const std::string& path, const std::string& name,
                            const nlohmann::json& entry, std::span<const std::uint8_t> data,
                            std::uint64_t& begin) {
  const auto wrong = [&](std::string why) {
    return malformed("load {}, tensor {}: {}; {}", path, name, why, kWhy);
  };
  if (!entry.is_object()) return wrong("its header entry is not an object");
  const auto dtype = entry.find("dtype"), shape = entry.find("shape"),
             offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return wrong("no dtype");
  if (shape == entry.end() || !shape->is_array() || shape->size() > kDimsMax)
    return wrong("no shape of at most 8 dimensions");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2)
    return wrong("no pair of data_offsets");
  Tensor tensor;
  const auto& text = dtype->get_ref<const std::string&>();
  const auto known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                  [&](const DtypeRow& row) { return text == row.name; });
  if (known == std::end(kDtypes)) return wrong(fmt::format("unknown dtype {:.40}", text));
  tensor.dtype = static_cast<Dtype>(known - std::begin(kDtypes));
  std::uint64_t elements = 1;
  for (const auto& dim : *shape) {
    const std::uint64_t* n = natural(dim);
    if (!n || *n > kElementsMax) return wrong("a dimension is not a plausible whole number");
    if (*n != 0 && elements > kElementsMax / *n) return wrong("its shape overflows");
    elements *= *n;
    tensor.shape.push_back(static_cast<std::int64_t>(*n));
  }
  const std::uint64_t *first = natural((*offsets)[0]), *last = natural((*offsets)[1]);
  if (!first || !last || *first > *last)
    return wrong("data_offsets are not an ascending pair of whole numbers");
  if (*last > data.size())
    return wrong(fmt::format("data_offsets [{}, {}] reach past the file's {} data bytes", *first,
                             *last, data.size()));
  tensor.n_bytes = elements * known->size;
  if (*last - *first != tensor.n_bytes)
    return wrong(fmt::format("{} {} takes {} bytes, data_offsets [{}, {}] hold {}",
                             shape_text(tensor.shape), text, tensor.n_bytes, *first, *last,
                             *last - *first));
  tensor.data = data.data() + *first;
  begin = *first;
  return tensor;
}

}  // namespace

const char* dtype_name(Dtype dtype) { return kDtypes[static_cast<int>(dtype)].name; }
std::size_t dtype_size(Dtype dtype) { return kDtypes[static_cast<int>(dtype)].size; }
std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<Shard> open_shard(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return tl::unexpected(file.error());
  const auto bytes = file->bytes();
  if (bytes.size() < 8)
    return malformed("load {}: {} bytes, too short for a header; {}", path, bytes.size(), kWhy);
  std::uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  if (header_bytes > kHeaderBytesMax)
    return malformed("load {}: its header claims {} bytes, at most {} are plausible; {}", path,
                     header_bytes, kHeaderBytesMax, kWhy);
  if (header_bytes > bytes.size() - 8)
    return malformed("load {}: its header claims {} bytes, the file has {}; {}", path, header_bytes,
                     bytes.size(), kWhy);
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  // Depth is bounded here because the parser's is the stack.
  int depth = 0;
  bool quoted = false;
  for (std::uint64_t i = 0; i < header_bytes; ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > 8) return malformed("load {}: its header is nested too deeply; {}", path, kWhy);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  const auto header = nlohmann::json::parse(text, text + header_bytes, nullptr,
                                            /*allow_exceptions=*/false);
  if (!header.is_object())
    return malformed("load {}: its header is not a JSON object; {}", path, kWhy);
  if (header.size() > kTensorsMax)
    return malformed("load {}: {} tensors, at most {} are plausible", path, header.size(),
                     kTensorsMax);
  Shard shard{std::move(*file), {}};
  const auto data = shard.file.bytes().subspan(8 + header_bytes);
  struct Extent {
    std::uint64_t begin, end;
    const std::string* name;
  };
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    std::uint64_t begin = 0;
    auto tensor = parse_tensor(path, name, entry, data, begin);
    if (!tensor) return tl::unexpected(tensor.error());
    const auto at = shard.tensors.emplace(name, std::move(*tensor)).first;
    if (at->second.n_bytes) extents.push_back({begin, begin + at->second.n_bytes, &at->first});
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      return malformed("load {}, tensor {}: it overlaps {}; {}", path, *extents[i].name,
                       *extents[i - 1].name, kWhy);
  return shard;
}

Result<> write_safetensors(const std::string& path, const std::vector<OutputTensor>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::uint64_t at = 0;
  std::vector<std::uint64_t> sizes;
  for (const auto& t : tensors) {
    std::uint64_t n = dtype_size(t.dtype);
    for (const auto dim : t.shape) n *= static_cast<std::uint64_t>(dim);
    header[t.name] = {
        {"dtype", dtype_name(t.dtype)}, {"shape", t.shape}, {"data_offsets", {at, at + n}}};
    sizes.push_back(n);
    at += n;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (!file)
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("write {}: {}", path, std::strerror(errno))});
  const std::uint64_t header_bytes = text.size();
  bool good = std::fwrite(&header_bytes, 8, 1, file) == 1 &&
              std::fwrite(text.data(), 1, text.size(), file) == text.size();
  for (std::size_t i = 0; good && i < tensors.size(); ++i)
    good = sizes[i] == 0 || std::fwrite(tensors[i].data, 1, sizes[i], file) == sizes[i];
  const int error = errno;
  if (std::fclose(file) != 0 || !good)
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("write {}: {}", path, std::strerror(good ? errno : error))});
  return {};
}

}  // namespace lares::engine
