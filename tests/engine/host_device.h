// A Device in host memory: every launch is computed by the CPU kernels, from what the launch's arguments say and nothing else. So the
// forward pass of engine/cuda runs, bit for bit, where there is no GPU. Memory it hands out is full of NaNs.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/cuda/device.h"
#include "kernels/dispatch.h"

namespace lares::engine::test {

namespace kc = kernels::cuda;

class HostDevice : public cuda::Device {
 public:
  // bytes_max: device memory it has.
  explicit HostDevice(std::size_t bytes_max = std::size_t{4} << 30, std::string name = "a device in host memory");
  ~HostDevice() override;

  std::vector<std::string> launches;  // names of what was run, copies too, in order
  std::size_t n_bytes() const { return bytes_max_ - free_; }  // taken

  std::string name() const override { return name_; }
  void* allocate(std::size_t bytes) override;
  void release(void* memory) override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* memory) override;
  kc::Weight pack(const kernels::Matrix& m, std::uint8_t* tiles, float* scale) override;
  void to_device(void* to, const void* from, std::size_t bytes) override;
  void to_host(void* to, const void* from, std::size_t bytes) override;
  void on_device(void* to, const void* from, std::size_t bytes) override;
  void clear(void* to, std::size_t bytes) override;
  void synchronise() override;
  void record() override;
  std::unique_ptr<Recording> end_recording() override;
  void replay(const Recording& recording) override;
  void embed(const kc::EmbedArgs& a) override;
  void rope_table(const kc::RopeTableArgs& a) override;
  void hyper(const kc::HyperArgs& a) override;
  void linear(std::span<const kc::LinearArgs> together) override;
  void rms_norm(const kc::RmsNormArgs& a) override;
  void queries(const kc::QueryArgs& a) override;
  void attention_inputs(const kc::AttentionInputsArgs& a) override;
  void put_window(const kc::WindowArgs& a) override;
  void quantise(const kc::QuantiseArgs& a) override;
  void compress(const kc::CompressArgs& a) override;
  void put_raw(const kc::CompressArgs& a) override;
  void index_queries(const kc::IndexQueryArgs& a) override;
  void index_scores(const kc::IndexScoreArgs& a) override;
  void top_k(const kc::TopKArgs& a) override;
  std::size_t top_k_scratch(int n_tokens, int n_max) override;
  void attention(const kc::AttentionArgs& a) override;
  void route(const kc::RouteArgs& a) override;
  void route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) override;
  void group(const kc::GroupArgs& a) override;
  void experts_linear(const kc::ExpertLinearArgs& a) override;
  void swiglu(const kc::SwigluArgs& a) override;
  void combine(const kc::CombineArgs& a) override;

 protected:
  void run(const char* name, std::function<void()> f);  // now, or with the recording

 private:
  struct Recorded;
  const kernels::Matrix& matrix(const std::uint8_t* tiles) const;

  const kernels::Kernels& k_ = kernels::best();
  const std::size_t bytes_max_;
  std::size_t free_;
  const std::string name_;
  std::unordered_map<void*, std::size_t> sizes_;
  std::unordered_map<const std::uint8_t*, kernels::Matrix> matrices_;  // by where their tiles are
  std::unique_ptr<Recorded> recording_;
};

}  // namespace lares::engine::test
