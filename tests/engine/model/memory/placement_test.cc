// What a model takes on GPUs and in host memory, to the byte, against sums over the release's
// tensors that were made apart, and against the shards' own.
#include "engine/placement.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "engine/cuda/layout.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/placement_tensors.h"
#include "engine/model/memory/pages.h"
#include "engine/model/timeline.h"
#include "tests/engine/model/memory/family_config.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kGiB = 1u << 30, kH100 = 81559ull << 20, kH200 = 143771ull << 20;

Config config_of(const nlohmann::json& json) { return *parse_config(json.dump(), "config.json"); }
std::uint64_t sum_of(const ModelBytes& m, Component which) {
  std::uint64_t bytes = 0;
  for (const LayerBytes& layer : m.layers)
    bytes += layer.components[static_cast<std::size_t>(which)];
  return bytes;
}
PlacementRequest request_for(const std::string& directory, std::vector<std::uint64_t> gpus) {
  PlacementRequest r;
  r.directory = directory;
  r.gpus = std::move(gpus);
  return r;
}

TEST(ModelBytes, OfFlashAreTheReleasesOwn) {
  const ModelBytes m = model_bytes(config_of(flash_config()), "fp4");
  EXPECT_EQ(m.embed, 1'059'061'760u);
  EXPECT_EQ(m.total(256) - m.draft, 156'015'698'140u);
  EXPECT_EQ(m.draft, 3'593'787'756u);
  EXPECT_EQ(m.n_tensors, 69'187u);
  ASSERT_EQ(m.layers.size(), 43u);
  EXPECT_EQ(m.layers[5].expert, 13'369'344u);
  EXPECT_EQ(m.layers[2].expert * 256 + m.layers[4].dense(), 3'589'851'224u);  // CSA, scored
  EXPECT_EQ(m.layers[3].expert * 256 + m.layers[3].dense(), 3'568'596'312u);  // HCA
  EXPECT_EQ(m.layers[0].expert * 256 + m.layers[0].dense(), 3'566'148'952u);  // window, hashed
  EXPECT_EQ(sum_of(m, Component::attention), 4'599'335'040u);
  EXPECT_EQ(sum_of(m, Component::compressors), 525'722'624u);
  EXPECT_EQ(sum_of(m, Component::indexers), 275'353'344u);
  EXPECT_EQ(sum_of(m, Component::routers), 90'218'496u);
  EXPECT_EQ(sum_of(m, Component::hash_tables), 18'616'320u);
  EXPECT_EQ(sum_of(m, Component::shared_experts), 1'082'196'480u);
}

TEST(ModelBytes, OfProAreTheReleasesOwn) {
  const ModelBytes m = model_bytes(config_of(pro_config()), "fp4");
  EXPECT_EQ(m.total(384) - m.draft, 850'748'205'004u);
  EXPECT_EQ(m.draft, 13'956'587'692u);
  EXPECT_EQ(m.n_tensors, 145'116u);
  EXPECT_EQ(m.layers[7].expert, 35'094'528u);
  EXPECT_EQ(m.layers[4].expert * 384 + m.layers[4].dense(), 13'903'542'296u);
  EXPECT_EQ(m.layers[3].expert * 384 + m.layers[3].dense(), 13'868'262'424u);
  EXPECT_EQ(sum_of(m, Component::attention), 18'294'573'440u);
}

TEST(ModelBytes, FromConfigAndFromShardsAgree) {
  for (const char* name : {"micro-flash", "micro-pro"}) {
    SCOPED_TRACE(name);
    const auto sized = sized_model(std::string(LARES_SOURCE_DIR) + "/tests/goldens/" + name);
    ASSERT_TRUE(sized) << sized.error().message;
    EXPECT_TRUE(sized->bytes.from_shards);
    EXPECT_TRUE(sized->bytes.fp4_experts);
    const ModelBytes computed = model_bytes(sized->config, "fp4");
    EXPECT_FALSE(computed.from_shards);
    EXPECT_EQ(computed.n_tensors, sized->bytes.n_tensors);
    EXPECT_EQ(computed.embed, sized->bytes.embed);
    EXPECT_EQ(computed.head, sized->bytes.head);
    EXPECT_EQ(computed.draft, sized->bytes.draft);
    ASSERT_EQ(computed.layers.size(), sized->bytes.layers.size());
    for (std::size_t i = 0; i < computed.layers.size(); ++i) {
      EXPECT_EQ(computed.layers[i].components, sized->bytes.layers[i].components) << "layer " << i;
      EXPECT_EQ(computed.layers[i].expert, sized->bytes.layers[i].expert) << "layer " << i;
    }
  }
}

TEST(ModelBytes, OtherFormatsOfExperts) {
  const Config c = config_of(flash_config());
  EXPECT_EQ(model_bytes(c, "bf16").layers[0].expert, 2u * 25'165'824);
  EXPECT_EQ(model_bytes(c, "fp8").layers[0].expert, 25'165'824u + 3 * 16 * 32);
}

TEST(Layout, PagesOfTheLayersAreThePage) {
  const Config c = config_of(flash_config());
  const PageLayout pages = page_layout(c, false);
  std::uint64_t sum = 0;
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const std::uint64_t bytes = cuda::layer_page_bytes(pages, i);
    EXPECT_EQ(bytes, c.ratio(i) == 0   ? 0u
                     : c.ratio(i) == 4 ? 64u * 584 + 64 * 68
                                       : 1216u)
        << "layer " << i;  // 2 entries of 584, to a whole line
    sum += bytes;
  }
  EXPECT_EQ(sum, pages.bytes);
}

TEST(Placement, SumsAreExactOnOneH100) {
  const ConfigDirectory flash(flash_config());
  const auto p = plan_placement(request_for(flash.path(), {kH100}));
  ASSERT_TRUE(p) << p.error().message;
  ASSERT_EQ(p->gpus.size(), 1u);
  const GpuPlacement& g = p->gpus[0];
  EXPECT_EQ(p->chunk, 8192);
  EXPECT_EQ(g.layer_begin, 0);
  EXPECT_EQ(g.layer_end, 43);
  EXPECT_EQ(g.pages, 4096u * (21 * (64 * 584 + 64 * 68) + 20 * 1216));
  // Every weight is somewhere once; the embedding and the experts that miss are the host's.
  const std::uint64_t dense = std::accumulate(g.components.begin(), g.components.end(),
                                              std::uint64_t{0});
  EXPECT_EQ(dense + g.head + g.experts + p->host.embed + p->host.experts, 156'015'698'140u);
  EXPECT_EQ(g.experts, static_cast<std::uint64_t>(g.n_experts) * 13'369'344);
  EXPECT_EQ(std::count(p->resident.begin(), p->resident.end(), 1), g.n_experts);
  // No further expert would fit.
  EXPECT_LE(g.used(), kH100);
  EXPECT_LT(kH100 - g.used(), 13'369'344u);
  // Nothing is known of them, so every layer holds as many as any other, but for one.
  std::vector<std::int64_t> held;
  for (int i = 0; i < 43; ++i)
    held.push_back(
        std::count(p->resident.begin() + i * 256, p->resident.begin() + (i + 1) * 256, 1));
  EXPECT_LE(
      *std::max_element(held.begin(), held.end()) - *std::min_element(held.begin(), held.end()), 1);
  EXPECT_DOUBLE_EQ(p->found, static_cast<double>(g.n_experts) / 11'008);
  // A token at batch 1: all it is computed with, without the tables of which it reads a
  // row.
  EXPECT_NEAR(static_cast<double>(p->token_gpu + p->token_host), 11'217'572'060.0, 1);
}

// Six layers, and the head alone on a seventh: what is beyond that is left alone, and has no
// buffers in host memory.
TEST(Placement, GpusBeyondTheLayersAreLeftAlone) {
  PlacementRequest r{.directory = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint",
                     .gpus = std::vector<std::uint64_t>(7, 4 * kGiB),
                     .n_context = 4096,
                     .heat = {}};
  const auto seven = plan_placement(r);
  r.gpus.resize(9, 4 * kGiB);
  const auto nine = plan_placement(r);
  ASSERT_TRUE(seven && nine);
  const auto idle = [](const Placement& p) {
    return std::ranges::count_if(
        p.gpus, [](const GpuPlacement& g) { return g.layer_begin == g.layer_end; });
  };
  EXPECT_EQ(idle(*seven), 1);
  EXPECT_EQ(idle(*nine), 3);
  EXPECT_GT(nine->gpus.back().head, 0u);
  EXPECT_EQ(nine->host.work, seven->host.work);
}

TEST(Placement, WithEnoughCardsNothingIsMissed) {
  const ConfigDirectory flash(flash_config());
  const auto p = plan_placement(request_for(flash.path(), {kH200, kH200}));
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->host.experts, 0u);
  // Each GPU has pinned buffers of its own: the second one's are for what the first hands on,
  // streams, their mixing weights and one sub-layer's output of each token, where the first one's
  // are for a row of the embedding.
  const Config c = config_of(flash_config());
  const std::uint64_t first = cuda::host_work_bytes(c, cuda::kChunk, {.last = false}),
                      second = cuda::host_work_bytes(c, cuda::kChunk, {.first = false});
  EXPECT_EQ(p->host.work, first + second);
  EXPECT_EQ(second - cuda::host_work_bytes(c, cuda::kChunk, {}), 8192u * (4 * 4096 * 2 + 16 + 64));
  EXPECT_EQ(second - cuda::host_work_bytes(c, cuda::kChunk, {.first = false, .last = false}),
            64u * 129'280 * 4);
  EXPECT_EQ(p->found, 1.0);
  EXPECT_EQ(p->token_host, 0u);
  EXPECT_EQ(p->gpus[0].layer_begin, 0);
  EXPECT_EQ(p->gpus[0].layer_end, p->gpus[1].layer_begin);
  EXPECT_EQ(p->gpus[1].layer_end, 43);
  // Neither is much fuller than the other: of two halves of 43 layers one has a layer and the head
  // more.
  EXPECT_NEAR(static_cast<double>(p->gpus[0].used()), static_cast<double>(p->gpus[1].used()), 4e9);
  EXPECT_EQ(p->gpus[0].head, 0u);
  EXPECT_GT(p->gpus[1].head, 0u);
}

TEST(Placement, UnequalCardsHoldWhatTheyCan) {
  const ConfigDirectory flash(flash_config());
  const auto p = plan_placement(request_for(flash.path(), {24 * kGiB, kH200}));
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_LT(p->gpus[0].layer_end, 12);  // about as 24 is to 141
  EXPECT_GT(p->gpus[0].layer_end, 2);
  for (const GpuPlacement& g : p->gpus) EXPECT_LE(g.used(), g.memory);
  // No other border holds more.
  const auto held = [](const Placement& of) { return of.gpus[0].n_experts + of.gpus[1].n_experts; };
  EXPECT_GE(held(*p), held(*plan_placement(request_for(flash.path(), {kH200, 24 * kGiB}))) - 256);
}

TEST(Placement, HotExpertsStay) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  r.heat.assign(43 * 256, 1);
  for (std::size_t i = 0; i < 43; ++i)
    for (std::size_t e = 200; e < 256; ++e) r.heat[i * 256 + e] = 100;
  const auto p = plan_placement(r);
  ASSERT_TRUE(p) << p.error().message;
  for (std::size_t i = 0; i < 43; ++i)
    for (std::size_t e = 200; e < 256; ++e) EXPECT_TRUE(p->resident[i * 256 + e]) << i << " " << e;
  const double hot = 43 * 56 * 100.0, others = static_cast<double>(p->gpus[0].n_experts) - 43 * 56;
  EXPECT_DOUBLE_EQ(p->found, (hot + others) / (hot + 43 * 200));
  r.heat.pop_back();
  EXPECT_EQ(plan_placement(r).error().code, Errc::bad_argument);
}

// Of each layer as many, where all are asked for alike: nobody's misses are more than another's.
TEST(Placement, WhatIsAskedForAlikeIsSharedOut) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  const auto unknown = plan_placement(r);
  r.heat.assign(43 * 256, 1.0 / 256);
  const auto p = plan_placement(r);
  ASSERT_TRUE(p && unknown);
  EXPECT_EQ(p->resident, unknown->resident);
}

// Twice in host memory where there is room: as the kernels of the GPU read them, pinned, and as the
// CPU's do. Else once, and they pass for any number of tokens. The ring that they pass through is
// taken from the experts' share.
TEST(Placement, ExpertsThatPassHaveTheirRoom) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  const auto both = plan_placement(r);
  ASSERT_TRUE(both) << both.error().message;
  const GpuPlacement& g = both->gpus[0];
  EXPECT_EQ(both->misses, Misses::computed_or_pass);
  EXPECT_EQ(g.ring, cuda::ring_bytes(13'369'344, 256));
  EXPECT_EQ(g.n_experts, static_cast<std::int64_t>((kH100 - g.fixed() - g.ring) / 13'369'344));
  EXPECT_EQ(both->missing, (11'008u - static_cast<std::uint64_t>(g.n_experts)) * 13'369'344);
  EXPECT_EQ(both->host.experts, both->missing);
  EXPECT_EQ(both->host.passing, both->missing);
  EXPECT_THAT(
      placement_text(*both),
      AllOf(HasSubstr("experts that pass           0.856 GB    78.53 GB"),
            HasSubstr("the CPU computes the others of few tokens; a prompt's\nexperts pass"),
            HasSubstr("3.1 s of PCIe 4 for 8,192 tokens")));

  r.host_memory = both->host.total();
  EXPECT_EQ(plan_placement(r)->misses, Misses::computed_or_pass);
  r.host_memory -= 1;
  const auto once = plan_placement(r);
  ASSERT_TRUE(once) << once.error().message;
  EXPECT_EQ(once->misses, Misses::pass);
  EXPECT_EQ(once->resident, both->resident);
  EXPECT_EQ(once->host.experts, 0u);
  EXPECT_EQ(once->host.passing, both->missing);
  EXPECT_EQ(both->host.work - once->host.work,
            8192u * (4096 * 2 + 6 * (4096 * 2 + 4 + 4)));  // what the CPU reads and gives
  EXPECT_THAT(
      placement_text(*once),
      AllOf(HasSubstr("experts pass through the GPUs: 74 ms of\nPCIe 4 a token, 3.1 s for 8,192"),
            HasSubstr("1.84 GB that pass")));
  r.host_memory = once->host.total();
  EXPECT_TRUE(plan_placement(r));
  r.host_memory -= 1;
  EXPECT_EQ(plan_placement(r).error().code, Errc::no_memory);

  // Where a GPU has no room for a ring the CPU computes, a prompt's too.
  r.host_memory = 0;
  r.gpus = {g.fixed() + g.ring - 1};
  const auto computed = plan_placement(r);
  ASSERT_TRUE(computed) << computed.error().message;
  EXPECT_EQ(computed->misses, Misses::computed);
  EXPECT_EQ(computed->gpus[0].ring, 0u);
  EXPECT_EQ(computed->host.passing, 0u);
  EXPECT_EQ(computed->host.experts, computed->missing);
  EXPECT_THAT(placement_text(*computed), HasSubstr("the CPU computes the others, a prompt's too"));
  const auto all = plan_placement(request_for(flash.path(), {kH200, kH200}));
  EXPECT_EQ(all->misses, Misses::none);
  EXPECT_EQ(all->gpus[0].ring + all->gpus[1].ring, 0u);
  EXPECT_EQ(nlohmann::json::parse(placement_json(*both))["host"]["passing"], both->missing);
}

// Experts of which the CPU makes other bits than a GPU are in host memory once, as they pass.
TEST(Placement, OtherExpertsThanFp4AreNotThereTwice) {
  auto json = flash_config();
  json["expert_dtype"] = "fp8";
  const ConfigDirectory flash(json);
  const auto p = plan_placement(request_for(flash.path(), {kH200}));
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_FALSE(p->model.fp4_experts);
  EXPECT_EQ(p->misses, Misses::pass);
  EXPECT_GT(p->missing, 0u);
  EXPECT_EQ(p->host.passing, p->missing);
  EXPECT_EQ(p->host.experts, 0u);
  EXPECT_THAT(placement_text(*p), Not(HasSubstr("would compute few tokens")));
}

TEST(Placement, ABudgetIsKept) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH200});
  r.gpu_memory = 40 * kGiB;
  const auto p = plan_placement(r);
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_LE(p->gpus[0].used(), 40 * kGiB);
  EXPECT_EQ(p->gpus[0].budget, 40 * kGiB);
  EXPECT_EQ(p->gpus[0].memory, kH200);
}

// Where it is known what is free on a card, no more is planned, and both numbers are there.
TEST(Placement, WhatOthersHoldIsLeftToThem) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  const auto described = plan_placement(r);
  ASSERT_TRUE(described) << described.error().message;
  EXPECT_EQ(described->gpus[0].reserve, cuda::kReserve);
  EXPECT_EQ(described->gpus[0].free, kH100);
  EXPECT_THAT(placement_text(*described), Not(HasSubstr("free now")));

  r.gpus_free = {kH100 - 9 * kGiB};
  const auto p = plan_placement(r);
  ASSERT_TRUE(p) << p.error().message;
  const GpuPlacement& g = p->gpus[0];
  EXPECT_EQ(g.memory, kH100);
  EXPECT_EQ(g.free, kH100 - 9 * kGiB);
  EXPECT_EQ(g.budget, g.free);
  EXPECT_LE(g.used(), g.free);
  EXPECT_LT(g.free - g.used(), 13'369'344u);
  EXPECT_LT(g.n_experts, described->gpus[0].n_experts);
  EXPECT_EQ(g.reserve, cuda::kReserve - cuda::kContextLeast);  // which the context has taken
  EXPECT_THAT(placement_text(*p), AllOf(HasSubstr("memory                      85.52 GB\n"),
                                        HasSubstr("free now                    75.86 GB\n")));
  EXPECT_EQ(nlohmann::json::parse(placement_json(*p))["gpus"][0]["free"], g.free);

  // A card that is this program's alone lacks its context, and no more is said of it. What is
  // planned lies as it would with the card described.
  r.gpus_free = {kH100 - cuda::kContextLeast};
  const auto alone = plan_placement(r);
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_EQ(alone->resident, described->resident);
  EXPECT_THAT(placement_text(*alone), Not(HasSubstr("free now")));

  // A bound on what may be taken holds for the context too, where it is the lower one.
  r.gpu_memory = 40 * kGiB;
  EXPECT_EQ(plan_placement(r)->gpus[0].budget, 40 * kGiB - cuda::kContextLeast);
  r.gpus_free = {30 * kGiB};
  EXPECT_EQ(plan_placement(r)->gpus[0].budget, 30 * kGiB);

  // What is free of one more GPU than there are, or its name.
  r.gpus_free.push_back(kGiB);
  EXPECT_EQ(plan_placement(r).error().code, Errc::bad_argument);
  r.gpus_free = {}, r.gpu_names = {"one", "two"};
  EXPECT_EQ(plan_placement(r).error().code, Errc::bad_argument);
}

TEST(Placement, ARefusalNamesTheCardsThatOthersHold) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100, kH100});
  r.gpu_names = {"GPU 2 (a)", "GPU 0 (b)"};
  r.gpus_free = {kH100 - kGiB / 2, 3 * kGiB};
  r.host_memory = 64 * kGiB;
  const auto host = plan_placement(r);  // there is room for the rest, and none for the experts
  ASSERT_FALSE(host);
  EXPECT_EQ(host.error().code, Errc::no_memory);
  EXPECT_THAT(host.error().message,
              AllOf(HasSubstr("may be taken: GPU 0 (b) has 85.52 GB, 3.22 GB free; end what else "
                              "uses the GPU, add GPUs"),
                    Not(HasSubstr("GPU 2 (a) has"))));
  r.gpus_free = {2 * kGiB, 3 * kGiB};
  const auto both = plan_placement(r);
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code, Errc::no_memory);
  EXPECT_THAT(both.error().message,
              AllOf(HasSubstr("5.37 GB may be taken: GPU 2 (a) has 85.52 GB, 2.15 GB free, GPU "
                              "0 (b) has 85.52 GB, 3.22 GB free; end what else uses the GPU"),
                    Not(HasSubstr("\n"))));
  // Nor is it others that a bound is too low for.
  r.gpu_memory = 2 * kGiB, r.gpus_free = {20 * kGiB, 20 * kGiB};
  EXPECT_THAT(plan_placement(r).error().message,
              AllOf(HasSubstr("3.76 GB may be taken; add a GPU"), Not(HasSubstr("free"))));
}

TEST(Placement, AShorterContextLeavesRoomForExperts) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  const auto longest = plan_placement(r);
  r.n_context = 1000;
  const auto shorter = plan_placement(r);
  ASSERT_TRUE(longest && shorter);
  EXPECT_EQ(shorter->gpus[0].pages, 4 * longest->gpus[0].pages / 4096);
  EXPECT_EQ(shorter->gpus[0].n_experts - longest->gpus[0].n_experts,
            static_cast<std::int64_t>((kH100 - shorter->gpus[0].fixed()) / 13'369'344 -
                                      (kH100 - longest->gpus[0].fixed()) / 13'369'344));
  EXPECT_GT(shorter->gpus[0].n_experts, longest->gpus[0].n_experts);
}

// The chunk is halved before a GPU is refused, and not before that is needed.
TEST(Placement, ChunksShrinkWhereThereIsNoRoom) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  r.n_context = 65536;
  const auto whole = plan_placement(r);
  ASSERT_TRUE(whole);
  const Config c = config_of(flash_config());
  const std::uint64_t fixed = whole->gpus[0].fixed();
  r.gpus = {fixed};
  EXPECT_EQ(plan_placement(r)->chunk, cuda::kChunk);
  EXPECT_EQ(plan_placement(r)->gpus[0].n_experts, 0);
  r.gpus = {fixed - 1};
  EXPECT_EQ(plan_placement(r)->chunk, cuda::kChunk / 2);
  const std::uint64_t least = fixed - cuda::work_bytes(c, cuda::kChunk, 65536) +
                              cuda::work_bytes(c, cuda::kChunkMin, 65536);
  r.gpus = {least};
  EXPECT_EQ(plan_placement(r)->chunk, cuda::kChunkMin);
  r.gpus = {least - 1};
  EXPECT_EQ(plan_placement(r).error().code, Errc::no_memory);
}

TEST(Placement, WhatCannotFitIsRefusedInOneLineWithTheNumbers) {
  const ConfigDirectory flash(flash_config()), pro(pro_config());
  auto small = plan_placement(request_for(flash.path(), {8 * kGiB}));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, Errc::no_memory);
  EXPECT_THAT(small.error().message,
              AllOf(HasSubstr("place " + flash.path()), HasSubstr("8.59 GB may be taken"),
                    HasSubstr("context of 1048576"), Not(HasSubstr("\n"))));
  auto r = request_for(pro.path(), {kH200});
  r.host_memory = 256 * kGiB;
  const auto host = plan_placement(r);
  ASSERT_FALSE(host);
  EXPECT_EQ(host.error().code, Errc::no_memory);
  EXPECT_THAT(host.error().message, AllOf(HasSubstr("822.05 GB of routed experts"),
                                          HasSubstr("274.88 may be taken"), Not(HasSubstr("\n"))));
  r.host_memory = 0;
  EXPECT_TRUE(plan_placement(r));
  const auto none = plan_placement(request_for("/nowhere", {kH100}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::not_found);
}

TEST(Placement, DraftBlocksTakeTheirRoom) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {kH100});
  const auto without = plan_placement(r);
  r.draft = true;
  const auto with = plan_placement(r);
  ASSERT_TRUE(with && without);
  EXPECT_EQ(without->gpus[0].draft, 0u);
  const Config c = sized_model(flash.path())->config;
  EXPECT_EQ(with->gpus[0].draft,
            3'593'787'756u + cuda::draft_work_bytes(c) +
                static_cast<std::uint64_t>(r.n_sequences) * cuda::draft_state_bytes(c));
  EXPECT_GT(cuda::draft_work_bytes(c), 64u * 129'280 * 4);  // logits
  // a window and what is rolled back, kept streams
  EXPECT_EQ(cuda::draft_state_bytes(c), 256u * 584 + 128u * 4 * 4096 * 2);
  EXPECT_GT(with->host.work, without->host.work + 64u * 129'280 * 4);
  EXPECT_LT(with->gpus[0].n_experts, without->gpus[0].n_experts);
}

// Rather than leave experts out.
TEST(Placement, ChunksAreShorterWhereThatMakesRoomForAllExperts) {
  const ConfigDirectory flash(flash_config());
  auto r = request_for(flash.path(), {std::uint64_t{1} << 40});
  const auto plan_with = [&](int chunk, std::uint64_t less) {
    const GpuPlacement whole =
        plan_placement(request_for(flash.path(), {std::uint64_t{1} << 40}))->gpus[0];
    const Config c = sized_model(flash.path())->config;
    r.gpus = {whole.used() - whole.work + cuda::work_bytes(c, chunk, plan_placement(r)->n_context) -
              less};
    return plan_placement(r);
  };
  for (const int chunk : {cuda::kChunk, cuda::kChunk / 2, cuda::kChunkWhole}) {
    const auto p = plan_with(chunk, 0);
    ASSERT_TRUE(p) << p.error().message;
    EXPECT_EQ(p->chunk, chunk);
    EXPECT_EQ(p->missing, 0u);
  }
  const auto short_of = plan_with(cuda::kChunkWhole, 1);
  ASSERT_TRUE(short_of) << short_of.error().message;
  EXPECT_EQ(short_of->chunk, cuda::kChunk);
  EXPECT_GT(short_of->missing, 0u);
}

TEST(Placement, TheTableFitsTheScreenAndSaysTheSums) {
  const ConfigDirectory flash(flash_config());
  for (const std::size_t n : {1, 2, 6}) {
    const auto p = plan_placement(request_for(flash.path(), std::vector<std::uint64_t>(n, kH100)));
    ASSERT_TRUE(p) << p.error().message;
    const std::string text = placement_text(*p);
    std::istringstream lines(text);
    std::string directory;
    std::getline(lines, directory);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 90u) << line;
    EXPECT_THAT(text,
                AllOf(HasSubstr("11,008"), HasSubstr("1,048,576"),
                      HasSubstr("GPU " + std::to_string(n - 1)), HasSubstr("no shards are there")));
    const auto json = nlohmann::json::parse(placement_json(*p));
    std::uint64_t experts = json["host"]["experts"];
    for (const auto& g : json["gpus"]) experts += g["experts"].get<std::uint64_t>();
    EXPECT_EQ(experts, 147'169'738'752u);
  }
}

TEST(Needs, ACardOfAUsualSizeGivesWhatTheDriverSays) {
  EXPECT_EQ(card_bytes(80), kH100);
  EXPECT_EQ(card_bytes(141), kH200);
  EXPECT_EQ(card_bytes(79.6), 79'600'000'000u);
}

TEST(Needs, SayHowManyCardsItTakes) {
  const ConfigDirectory flash(flash_config());
  const auto needs = placement_needs(request_for(flash.path(), {}));
  ASSERT_TRUE(needs) << needs.error().message;
  for (const CardNeeds& card : needs->cards) {
    SCOPED_TRACE(card.memory >> 30);
    // So many hold all, one fewer does not: by plans of their own.
    ASSERT_GT(card.n_all, 0);
    EXPECT_EQ(plan_placement(
                  request_for(flash.path(), std::vector<std::uint64_t>(
                                                static_cast<std::size_t>(card.n_all), card.memory)))
                  ->host.experts,
              0u);
    if (card.n_all > 1) {
      const auto fewer = plan_placement(request_for(
          flash.path(),
          std::vector<std::uint64_t>(static_cast<std::size_t>(card.n_all) - 1, card.memory)));
      EXPECT_TRUE(!fewer || fewer->host.experts > 0);
    }
    EXPECT_LE(card.n_least, card.n_all);
  }
  EXPECT_THAT(needs_text(*needs), HasSubstr("  80 GB "));
  EXPECT_EQ(nlohmann::json::parse(needs_json(*needs))["cards"].size(), needs->cards.size());
}

}  // namespace
}  // namespace lares::engine
