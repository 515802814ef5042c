// Which NVIDIA GPUs this machine has, what their driver can do, and why this program does not use
// them, if it does not. Asks the driver alone, so that a program built without CUDA can say it too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

// What computes a model.
struct DeviceChoice {
  // "cpu"; "cuda", "cuda:1": a GPU, whose results are near the CPU's and not the same bits;
  // "cuda:0,1": the layers over these, with one GPU's bits; "auto": the CPU
  std::string device = "auto";
  std::uint64_t gpu_memory = 0;  // bytes of each GPU that may be taken; 0: all
  // The CPU's: where tiles are looked for that do not lie beside the checkpoint (inspect.h); empty:
  // nowhere
  std::string tiles_directory;
};
// As load(), which is the CPU's. The GPUs are looked for before anything is read.
Result<std::unique_ptr<Engine>> load_on(const DeviceChoice& choice, const LoadOptions& options,
                                        const Progress& progress);
// What load_on() would refuse about the device alone, before any checkpoint is looked at.
Result<> check_device(const std::string& device);
// The note of a model that says that its device computes something wrong, which is then done
// without; empty: none was found to.
std::string device_fault(const ModelInfo& info);
// The CPU's, as load() where `tiles_directory` is empty.
Result<std::unique_ptr<Engine>> load_on_cpu(const LoadOptions& options,
                                            const std::string& tiles_directory,
                                            const Progress& progress);

struct Gpu {
  std::string name;
  int sm = 0;  // 10 major + minor of the compute capability
  // All of it: asking what is free would make a context, which takes memory and time; a load asks
  // (device.h)
  std::uint64_t memory_bytes = 0;
  std::string unused;  // why this one cannot be used; empty: it can
};

struct GpuReport {
  std::string driver;      // "CUDA 13.0"; empty: none was loaded
  int driver_version = 0;  // 1000 major + 10 minor, of the newest CUDA it runs
  std::vector<Gpu> gpus;
  bool built = false;  // this program has kernels for GPUs
  std::string unused;  // why none is used, and what to do; empty: one would be
  // The machine shows an NVIDIA device, so that nothing found is worth a look
  bool expected = false;
};

// `library`: the driver's; "libcuda.so.1" but in tests. `proc`, `dev`: where the kernel shows its
// side.
struct GpuPlaces {
  std::string library = "libcuda.so.1", proc = "/proc/driver/nvidia", dev = "/dev";
};
GpuReport find_gpus(const GpuPlaces& places = {});

// What each report means for a person: one line a GPU, or the one that says why there is none.
std::vector<std::string> gpu_lines(const GpuReport& report);

inline constexpr int kSmMin = 80;  // A100; older ones have no bf16 matrix products
// Bytes of shared memory a block may ask for: A100's; cards for desktops have 99 KiB
inline constexpr int kBlockSharedMin = 163 << 10;
// CUDA 12.3, whose graphs begin launches early; what was built by a newer CUDA needs its major
inline constexpr int kDriverVersionMin = 12030;
inline constexpr int kGpusListedMax = 64;

}  // namespace lares::engine
