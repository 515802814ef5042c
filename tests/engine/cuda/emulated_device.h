// A Device in host memory that runs the CUDA kernels' own bodies, emulated thread by thread
// (kernels/cuda/launch.h), each launch's first before the last launch's last: slow, and as near to
// a GPU as a machine without one comes.
#pragma once

#include "kernels/cuda/simt/simt_overlap.h"
#include "tests/engine/cuda/host_device.h"

namespace lares::engine::test {

class EmulatedDevice : public HostDevice {
 public:
  bool wgmma = true;  // as sm_90a; without it many tokens are multiplied as sm_80 does
  void pack_rows(const kernels::Matrix& m, int row_begin, int row_end, std::uint8_t* tiles,
                 float* scale) const override {
    kc::pack_tiles(m, row_begin, row_end, tiles, scale);
  }
  void embed(const kc::EmbedArgs& a) override {
    launch("embed", [=] { return kc::embed(a, nullptr); });
  }
  void rope_table(const kc::RopeTableArgs& a) override {
    launch("rope_table", [=] { return kc::rope_table(a, nullptr); });
  }
  void hyper(const kc::HyperArgs& a) override {
    launch("hyper", [=] { return kc::hyper(a, nullptr); });
  }
  void linear(std::span<const kc::LinearArgs> together, const kc::HyperMixes& mixes) override {
    std::vector<kc::LinearArgs> all(together.begin(), together.end());
    for (auto& a : all) a.wgmma = wgmma;
    launch("linear", [this, mixes, all = std::move(all)] {
      return kc::linear(all, nullptr, {scratch_.data()}, mixes);
    });
  }
  void rms_norm(const kc::RmsNormArgs& a) override {
    launch("rms_norm", [=] { return kc::rms_norm(a, nullptr); });
  }
  void queries(const kc::QueryArgs& a) override {
    launch("queries", [=] { return kc::queries(a, nullptr); });
  }
  void attention_inputs(const kc::AttentionInputsArgs& a) override {
    launch("attention_inputs", [=] { return kc::attention_inputs(a, nullptr); });
  }
  void put_window(const kc::WindowArgs& a) override {
    launch("put_window", [=] { return kc::put_window(a, nullptr); });
  }
  void quantise(const kc::QuantiseArgs& a) override {
    launch("quantise", [=] { return kc::quantise(a, nullptr); });
  }
  void compress(const kc::CompressArgs& a) override {
    launch("compress", [=] { return kc::compress(a, nullptr); });
  }
  void put_raw(const kc::CompressArgs& a) override {
    launch("put_raw", [=] { return kc::put_raw(a, nullptr); });
  }
  void index_queries(const kc::IndexQueryArgs& a) override {
    launch("index_queries", [=] { return kc::index_queries(a, nullptr); });
  }
  void index_scores(const kc::IndexScoreArgs& a) override {
    launch("index_scores", [=] { return kc::index_scores(a, nullptr); });
  }
  void top_k(const kc::TopKArgs& a) override {
    launch("top_k", [=] { return kc::top_k(a, nullptr); });
  }
  std::size_t top_k_scratch(int n_tokens, int n_max) override {
    return kc::top_k_scratch(n_tokens, n_max);
  }
  void attention(const kc::AttentionArgs& a) override {
    launch("attention", [=] { return kc::attention(a, nullptr); });
  }
  void route(const kc::RouteArgs& a) override {
    launch("route", [=] { return kc::route(a, nullptr); });
  }
  void route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) override {
    launch("route_and_group", [=] { return kc::route_and_group(a, b, nullptr); });
  }
  void group(const kc::GroupArgs& a) override {
    launch("group", [=] { return kc::group(a, nullptr); });
  }
  void experts_linear(const kc::ExpertLinearArgs& given) override {
    kc::ExpertLinearArgs a = given;
    a.wgmma = wgmma;
    launch("experts_linear",
           [=, this] { return kc::experts_linear(a, nullptr, {scratch_.data()}); });
  }
  void swiglu(const kc::SwigluArgs& a) override {
    launch("swiglu", [=] { return kc::swiglu(a, nullptr); });
  }
  void combine(const kc::CombineArgs& a) override {
    launch("combine", [=] { return kc::combine(a, nullptr); });
  }
  void draft_rows(const kc::DraftRowsArgs& a) override {
    launch("draft_rows", [=] { return kc::draft_rows(a, nullptr); });
  }
  void add_to_streams(const kc::AddToStreamsArgs& a) override {
    launch("add_to_streams", [=] { return kc::add_to_streams(a, nullptr); });
  }

 private:
  template <class Launch>
  void launch(const char* name, Launch f) {
    const auto go = [this, name, f] {
      const kc::simt::Overlap::Here here(overlap_);
      const kc::Status status = f();
      if (status.ok()) return;
      std::fprintf(stderr, "%s was refused: %s\n", name, status.what);
      std::abort();
    };
    run(name, go, /*overlaps=*/true);
  }
  void settle() override { overlap_.settle(); }

  kc::simt::Overlap overlap_;
  std::vector<kc::StreamScratch> scratch_{static_cast<std::size_t>(kc::kScratchBlocks)};
};

}  // namespace lares::engine::test
