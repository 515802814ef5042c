#include "engine/gpus.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

namespace lares::engine {
namespace {

// Of the driver's own interface, which is stable over versions (cuda.h); nothing of it is linked.
constexpr int kSuccess = 0, kNoDevice = 100;
constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
constexpr int kBlockShared = 97;         // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
#ifdef LARES_CUDA_MAJOR
constexpr int kDriverMin = std::max(kDriverVersionMin, 1000 * LARES_CUDA_MAJOR);
#else
constexpr int kDriverMin = kDriverVersionMin;
#endif

class Driver {
 public:
  explicit Driver(const std::string& library)
      : handle_(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL),
                [](void* h) { h ? ::dlclose(h) : 0; }) {
    if (!handle_) why_ = ::dlerror();
  }
  bool loaded() const { return handle_ != nullptr; }
  const std::string& why() const { return why_; }

  template <class... Args>
  int call(const char* name, Args... args) const {
    const auto function = reinterpret_cast<int (*)(Args...)>(::dlsym(handle_.get(), name));
    return function ? function(args...) : -1;
  }
  std::string error_text(int code) const {
    const char* text = nullptr;
    if (code == -1) return "the library lacks a function that every driver has";
    if (call("cuGetErrorString", code, &text) == kSuccess && text)
      return fmt::format("{} ({})", text, code);
    return fmt::format("error {}", code);
  }

 private:
  std::unique_ptr<void, void (*)(void*)> handle_;
  std::string why_;
};

Gpu gpu_of(const Driver& driver, int index) {
  Gpu out;
  int device = 0, major = 0, minor = 0, shared = 0;
  std::array<char, 256> name{};
  std::size_t bytes = 0;
  if (const int code = driver.call("cuDeviceGet", &device, index); code != kSuccess) {
    out.name = fmt::format("GPU {}", index);
    out.unused = "its driver does not give it: " + driver.error_text(code);
    return out;
  }
  driver.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()) - 1, device);
  driver.call("cuDeviceGetAttribute", &major, kMajor, device);
  driver.call("cuDeviceGetAttribute", &minor, kMinor, device);
  driver.call("cuDeviceGetAttribute", &shared, kBlockShared, device);
  driver.call("cuDeviceTotalMem_v2", &bytes, device);
  out.name = name.data();
  out.sm = 10 * major + minor;
  out.memory_bytes = bytes;
  if (out.sm < kSmMin)
    out.unused = fmt::format(
        "compute capability {}.{}, and the kernels need {}.{} (A100 and newer)", major, minor,
        kSmMin / 10, kSmMin % 10);
  else if (shared < kBlockSharedMin)
    out.unused = fmt::format(
        "{} KiB of shared memory a block, and the kernels need {} (A100, H100, H200, B200)",
        shared >> 10, kBlockSharedMin >> 10);
  return out;
}

bool shown_by_kernel(const GpuPlaces& places) {
  std::error_code ec;
  if (std::filesystem::exists(places.proc, ec)) return true;
  for (const auto& entry : std::filesystem::directory_iterator(places.dev, ec))
    if (const std::string name = entry.path().filename().string();
        name.starts_with("nvidia") && name.size() > 6 && name[6] >= '0' && name[6] <= '9')
      return true;
  return false;
}

}  // namespace

GpuReport find_gpus(const GpuPlaces& places) {
  GpuReport out;
#ifdef LARES_HAS_CUDA
  out.built = true;
#endif
  out.expected = shown_by_kernel(places);
  const Driver driver(places.library);
  if (!driver.loaded()) {
    out.unused = out.expected ? fmt::format(
                                    "the machine shows an NVIDIA GPU, and its driver's library "
                                    "cannot be loaded ({}); install the driver's user part",
                                    driver.why())
                              : "no NVIDIA driver is installed";
    return out;
  }
  int count = 0;
  if (const int code = driver.call("cuInit", 0u); code != kSuccess) {
    out.unused = code == kNoDevice
                     ? "the driver finds no GPU"
                     : fmt::format("the driver does not start: {}; `nvidia-smi` may say more",
                                   driver.error_text(code));
    return out;
  }
  driver.call("cuDriverGetVersion", &out.driver_version);
  out.driver = fmt::format("CUDA {}.{}", out.driver_version / 1000, out.driver_version % 1000 / 10);
  driver.call("cuDeviceGetCount", &count);
  for (int i = 0; i < std::min(count, kGpusListedMax); ++i) out.gpus.push_back(gpu_of(driver, i));
  std::string usable;  // their numbers
  for (std::size_t i = 0; i < out.gpus.size(); ++i)
    if (out.gpus[i].unused.empty()) usable += fmt::format("{}{}", usable.empty() ? "" : ",", i);
  if (out.gpus.empty())
    out.unused = "the driver finds no GPU";
  else if (out.driver_version < kDriverMin)
    out.unused = fmt::format(
        "the driver runs {}, and the kernels need CUDA {}.{}; update the driver", out.driver,
        kDriverMin / 1000, kDriverMin % 1000 / 10);
  else if (usable.empty())
    out.unused = "none of them can run the kernels";
  else if (!out.built)
    out.unused = "this program was built without CUDA: nvcc was not there; build it where it is";
  else
    out.unused = fmt::format(
        "the CPU computes until you say otherwise: `lares config set device cuda:{}`{}; see first "
        "that it computes right there: `lares model verify --device cuda:{}`",
        usable.substr(0, usable.find(',')),
        usable.find(',') == std::string::npos ? ""
                                              : fmt::format(", or cuda:{} for all of them", usable),
        usable);
  return out;
}

std::vector<std::string> gpu_lines(const GpuReport& report) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < report.gpus.size(); ++i) {
    const Gpu& gpu = report.gpus[i];
    std::string line = report.gpus.size() > 1 ? fmt::format("{}: ", i) : "";
    line += gpu.sm
                ? fmt::format("{}, {:.1f} GB, compute capability {}.{}", gpu.name,
                              static_cast<double>(gpu.memory_bytes) / 1e9, gpu.sm / 10, gpu.sm % 10)
                : gpu.name;
    if (!report.driver.empty()) line += ", driver for " + report.driver;
    lines.push_back(gpu.unused.empty() ? line : line + "; not usable: " + gpu.unused);
  }
  if (!report.unused.empty())
    lines.push_back(report.gpus.empty() ? report.unused + "; the CPU computes"
                                        : "not used: " + report.unused);
  return lines;
}

}  // namespace lares::engine
