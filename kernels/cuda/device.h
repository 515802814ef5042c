// Memory, streams and events of a CUDA device, each owned by one object, and what becomes of
// everything that can fail there. No CUDA header is needed to include this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace lares::kernels::cuda {

using bf16 = std::uint16_t;   // its bits
using Stream = CUstream_st*;  // as cudaStream_t; launches are in order within one

// What a call came to. Anything but success of an allocation or a copy to the device leaves the
// context unusable.
struct [[nodiscard]] Status {
  int code = 0;           // cudaError_t; kRefused: the arguments are not what the kernel takes
  const char* what = "";  // what was attempted

  static constexpr int kRefused = -1;
  bool ok() const { return code == 0; }
  bool out_of_memory() const { return code == 2; }  // cudaErrorMemoryAllocation
  std::string message() const;  // "launch attention: an illegal memory access was encountered"
};

struct DeviceInfo {
  std::string name;
  int sm = 0;  // 10 major + minor: 90 for H100 and H200
  int n_sms = 0;
  int max_shared_bytes = 0;  // of a block, when asked for
  std::uint64_t memory_bytes = 0, memory_free = 0, l2_bytes = 0;
};
// Devices the driver offers, best first not implied; empty without a driver, and then `status` says
// why.
std::vector<DeviceInfo> devices(Status* status = nullptr);
Status use_device(int index);  // of the calling thread, from now on
Status synchronise(Stream stream);
// Of the current device, which has a context from then on: that takes some 300 to 500 MB of it, and
// a while.
Status free_memory(std::uint64_t* bytes);

// Bytes [0, size) of the current device, at least 256-byte aligned, not initialised.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  Status allocate(std::size_t bytes);  // in place of what it held
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Host memory that a device reads and writes directly.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer();

  Status allocate(std::size_t bytes);
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Host memory that others have allocated, pinned for every device until it is unpinned.
Status pin(void* memory, std::size_t bytes);
Status unpin(void* memory);

class OwnedStream {
 public:
  OwnedStream() = default;
  OwnedStream(OwnedStream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  OwnedStream& operator=(OwnedStream&& other) noexcept;
  ~OwnedStream();

  Status create();  // does not wait for the default stream
  operator Stream() const { return stream_; }

 private:
  Stream stream_ = nullptr;
};

class Event {
 public:
  Event() = default;
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept;
  ~Event();

  Status create();
  Status record(Stream stream);
  Status wait();                    // the host, until what was recorded is over
  Status make_wait(Stream stream);  // a stream
  // Milliseconds from `from` to this one, both recorded and over.
  Status since(const Event& from, float* ms);

 private:
  CUevent_st* event_ = nullptr;
};

// Launches of one stream, recorded once and run as a whole.
class Graph {
 public:
  Graph() = default;
  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept;
  ~Graph();

  // What follows is recorded, not run; nothing may be allocated or waited for
  static Status begin(Stream stream);
  Status end(Stream stream);
  Status launch(Stream stream) const;
  bool made() const { return graph_ != nullptr; }

 private:
  CUgraphExec_st* graph_ = nullptr;
};

// Asynchronous where the host side is pinned.
Status copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
Status copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream);
Status copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream);
Status fill(void* to, int byte, std::size_t bytes, Stream stream);

}  // namespace lares::kernels::cuda
