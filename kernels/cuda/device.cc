#include "kernels/cuda/device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

namespace lares::kernels::cuda {
namespace {

Status status(cudaError_t code, const char* what) { return {static_cast<int>(code), what}; }

template <class T, class Free>
void replace(T& mine, T& other, Free release) {
  if (mine) release(mine);
  mine = std::exchange(other, nullptr);
}

}  // namespace

std::string Status::message() const {
  if (ok()) return {};
  if (code == kRefused) return what;
  return fmt::format("{}: {}", what, cudaGetErrorString(static_cast<cudaError_t>(code)));
}

std::vector<DeviceInfo> devices(Status* why) {
  std::vector<DeviceInfo> out;
  int n = 0;
  Status s = status(cudaGetDeviceCount(&n), "look for CUDA devices");
  for (int i = 0; s.ok() && i < n; ++i) {
    cudaDeviceProp p;
    s = status(cudaGetDeviceProperties(&p, i), "read a CUDA device's properties");
    if (!s.ok()) break;
    DeviceInfo d{.name = p.name,
                 .sm = 10 * p.major + p.minor,
                 .n_sms = p.multiProcessorCount,
                 .max_shared_bytes = static_cast<int>(p.sharedMemPerBlockOptin),
                 .memory_bytes = p.totalGlobalMem,
                 .memory_free = 0,
                 .l2_bytes = static_cast<std::uint64_t>(p.l2CacheSize)};
    std::size_t free = 0, total = 0;
    int before = 0;
    s = status(cudaGetDevice(&before), "read the current CUDA device");
    if (s.ok()) s = status(cudaSetDevice(i), "use a CUDA device");
    if (s.ok()) s = status(cudaMemGetInfo(&free, &total), "read a CUDA device's free memory");
    if (s.ok()) s = status(cudaSetDevice(before), "use a CUDA device");
    d.memory_free = free;
    if (s.ok()) out.push_back(std::move(d));
  }
  if (why) *why = s;
  return out;
}

Status use_device(int index) { return status(cudaSetDevice(index), "use a CUDA device"); }
Status synchronise(Stream stream) {
  return status(cudaStreamSynchronize(stream), "wait for a CUDA stream");
}
Status free_memory(std::uint64_t* bytes) {
  std::size_t free = 0, total = 0;
  const Status s = status(cudaMemGetInfo(&free, &total), "read a CUDA device's free memory");
  *bytes = free;
  return s;
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  if (this == &other) return *this;
  replace(data_, other.data_, cudaFree);
  size_ = std::exchange(other.size_, 0);
  return *this;
}
DeviceBuffer::~DeviceBuffer() {
  if (data_) cudaFree(data_);
}
Status DeviceBuffer::allocate(std::size_t bytes) {
  *this = DeviceBuffer();
  if (bytes == 0) return {};
  const Status s = status(cudaMalloc(&data_, bytes), "allocate device memory");
  if (!s.ok()) {
    cudaGetLastError();  // an allocation that failed leaves the context as it was
    data_ = nullptr;
  } else {
    size_ = bytes;
  }
  return s;
}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  if (this == &other) return *this;
  replace(data_, other.data_, cudaFreeHost);
  size_ = std::exchange(other.size_, 0);
  return *this;
}
PinnedBuffer::~PinnedBuffer() {
  if (data_) cudaFreeHost(data_);
}
Status PinnedBuffer::allocate(std::size_t bytes) {
  *this = PinnedBuffer();
  if (bytes == 0) return {};
  const Status s = status(cudaHostAlloc(&data_, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
                          "allocate pinned host memory");
  if (!s.ok()) {
    cudaGetLastError();
    data_ = nullptr;
  } else {
    size_ = bytes;
  }
  return s;
}

Status pin(void* memory, std::size_t bytes) {
  const Status s = status(cudaHostRegister(memory, bytes, cudaHostRegisterPortable),
                          "pin host memory");
  if (!s.ok()) cudaGetLastError();  // it leaves the context as it was
  return s;
}
Status unpin(void* memory) {
  const Status s = status(cudaHostUnregister(memory), "unpin host memory");
  if (!s.ok()) cudaGetLastError();
  return s;
}

OwnedStream& OwnedStream::operator=(OwnedStream&& other) noexcept {
  if (this != &other) replace(stream_, other.stream_, cudaStreamDestroy);
  return *this;
}
OwnedStream::~OwnedStream() {
  if (stream_) cudaStreamDestroy(stream_);
}
Status OwnedStream::create() {
  *this = OwnedStream();
  return status(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "create a CUDA stream");
}

Event& Event::operator=(Event&& other) noexcept {
  if (this != &other) replace(event_, other.event_, cudaEventDestroy);
  return *this;
}
Event::~Event() {
  if (event_) cudaEventDestroy(event_);
}
Status Event::create() {
  *this = Event();
  return status(cudaEventCreate(&event_), "create a CUDA event");
}
Status Event::record(Stream stream) {
  return status(cudaEventRecord(event_, stream), "record a CUDA event");
}
Status Event::wait() { return status(cudaEventSynchronize(event_), "wait for a CUDA event"); }
Status Event::make_wait(Stream stream) {
  return status(cudaStreamWaitEvent(stream, event_, 0), "make a CUDA stream wait");
}
Status Event::since(const Event& from, float* ms) {
  return status(cudaEventElapsedTime(ms, from.event_, event_), "read the time between CUDA events");
}

Graph& Graph::operator=(Graph&& other) noexcept {
  if (this != &other) replace(graph_, other.graph_, cudaGraphExecDestroy);
  return *this;
}
Graph::~Graph() {
  if (graph_) cudaGraphExecDestroy(graph_);
}
Status Graph::begin(Stream stream) {
  return status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                "begin recording a CUDA graph");
}
Status Graph::end(Stream stream) {
  *this = Graph();
  cudaGraph_t recorded = nullptr;
  Status s = status(cudaStreamEndCapture(stream, &recorded), "record a CUDA graph");
  if (s.ok()) s = status(cudaGraphInstantiate(&graph_, recorded, 0), "make a CUDA graph");
  // Else the first launch would upload it, and a want of memory come where nothing else can be done
  if (s.ok()) s = status(cudaGraphUpload(graph_, stream), "upload a CUDA graph");
  if (recorded) cudaGraphDestroy(recorded);
  if (s.out_of_memory()) {
    cudaGetLastError();  // which leaves the context as it was
    if (graph_) cudaGraphExecDestroy(graph_);
    graph_ = nullptr;
  }
  return s;
}
Status Graph::launch(Stream stream) const {
  return status(cudaGraphLaunch(graph_, stream), "launch a CUDA graph");
}

Status copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  return status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream),
                "copy to the device");
}
Status copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  return status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream),
                "copy from the device");
}
Status copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  return status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream),
                "copy on the device");
}
Status fill(void* to, int byte, std::size_t bytes, Stream stream) {
  return status(cudaMemsetAsync(to, byte, bytes, stream), "fill device memory");
}

}  // namespace lares::kernels::cuda
