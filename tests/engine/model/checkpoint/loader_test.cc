// What can be wrong with a checkpoint, and the one line that says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/model/checkpoint/config.h"
#include "engine/model/checkpoint/weights.h"
#include "tests/engine/model/checkpoint/loader_files.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string error_of(const CheckpointCopy& copy) {
  const auto weights = load_weights(copy.directory(), {});
  if (weights) return "(loaded)";
  EXPECT_THAT(weights.error().message, Not(HasSubstr("\n")));
  return weights.error().message;
}

TEST(Loader, LoadsTheGoldens) {
  for (const char* name : {"micro-flash", "micro-pro"}) {
    const CheckpointCopy copy(name);
    const auto weights = load_weights(copy.directory(), {});
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_TRUE((*weights)->notes.empty());
    EXPECT_EQ((*weights)->mtp.size(), 1u);
  }
}

TEST(Loader, NamesTheMissingFile) {
  for (const char* file : {"config.json", kIndex, kShard1}) {
    const CheckpointCopy copy;
    std::filesystem::remove(copy.file(file));
    EXPECT_THAT(error_of(copy), HasSubstr(std::string(file) + ": No such file")) << file;
  }
  const auto nowhere = load_weights("/nonexistent/model", {});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Errc::not_found);
}

TEST(Loader, NamesTheTruncatedShardAndATensor) {
  const CheckpointCopy copy;
  std::filesystem::resize_file(copy.file(kShard1),
                               std::filesystem::file_size(copy.file(kShard1)) - 1);
  EXPECT_THAT(error_of(copy),
              AllOf(HasSubstr(kShard1), HasSubstr("tensor "), HasSubstr("reach past")));
  std::filesystem::resize_file(copy.file(kShard1), 100);
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr(kShard1), HasSubstr("header claims")));
  std::filesystem::resize_file(copy.file(kShard1), 5);
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr(kShard1), HasSubstr("too short")));
  std::filesystem::resize_file(copy.file(kShard1), 0);
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr(kShard1), HasSubstr("too short")));
}

TEST(Loader, NamesTheTensorOfTheWrongShapeOrDtype) {
  {
    const CheckpointCopy copy;
    copy.edit(kShard1, R"("embed.weight":{"dtype":"BF16","shape":[512,256])",
              R"("embed.weight":{"dtype":"BF16","shape":[256,512])");
    EXPECT_THAT(error_of(copy), AllOf(HasSubstr(std::string(kShard1) +
                                                ", tensor embed.weight: expected [512, 256] BF16"),
                                      HasSubstr("found [256, 512] BF16")));
  }
  const CheckpointCopy copy;
  copy.edit(kShard1, R"("layers.0.attn.wq_a.weight":{"dtype":"F8_E4M3")",
            R"("layers.0.attn.wq_a.weight":{"dtype":"I8")");
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr("tensor layers.0.attn.wq_a.weight"),
                                    HasSubstr("expected"), HasSubstr("I8")));
}

TEST(Loader, NamesTheTensorWhoseOffsetsLie) {
  const auto with = [](const std::string& offsets) {
    const CheckpointCopy copy;
    copy.edit(kShard1, R"("data_offsets":[0,262144])", "\"data_offsets\":" + offsets);
    return error_of(copy);
  };
  EXPECT_THAT(with("[0,262143]"),
              AllOf(HasSubstr("tensor embed.weight"), HasSubstr("takes 262144 bytes")));
  EXPECT_THAT(with("[262144,0]"), AllOf(HasSubstr("tensor embed.weight"), HasSubstr("ascending")));
  EXPECT_THAT(with("[-1,262143]"), AllOf(HasSubstr("tensor embed.weight"), HasSubstr("ascending")));
  EXPECT_THAT(with("[18446744073709551615,18446744073709551615]"),
              HasSubstr("tensor embed.weight"));
  EXPECT_THAT(with("[4000000000,4000262144]"), HasSubstr("reach past"));
  EXPECT_THAT(with("[1,262145]"), AllOf(HasSubstr("overlaps"), HasSubstr("embed.weight")));
  EXPECT_THAT(with("[1.5,3]"), HasSubstr("ascending pair"));
  EXPECT_THAT(with("null"), HasSubstr("no pair of data_offsets"));
}

TEST(Loader, ShapesThatOverflowAreRefused) {
  const CheckpointCopy copy;
  copy.edit(kShard1, R"("shape":[512,256])", R"("shape":[4294967296,4294967297,65536])");
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr("tensor embed.weight"), HasSubstr("overflows")));
}

TEST(Loader, HeadersThatAreNoJsonAreRefused) {
  const CheckpointCopy copy;
  std::string bytes = read_all(copy.file(kShard1));
  for (const std::uint64_t n :
       {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    std::memcpy(bytes.data(), &n, 8);
    write_all(copy.file(kShard1), bytes);
    EXPECT_THAT(error_of(copy), AllOf(HasSubstr(kShard1), HasSubstr("header"))) << n;
  }
  std::string deep(8, '\0');
  const std::uint64_t n = 1 << 20;
  std::memcpy(deep.data(), &n, 8);
  write_all(copy.file(kShard1), deep + std::string(n, '['));
  EXPECT_THAT(error_of(copy), HasSubstr("nested too deeply"));
}

TEST(Loader, TheIndexMustTellTheTruth) {
  {
    const CheckpointCopy copy;
    copy.edit(kIndex, "\"norm.weight\"", "\"norm.wight\"");
    EXPECT_THAT(error_of(copy), AllOf(HasSubstr("tensor norm.wight"), HasSubstr("the index says")));
  }
  {
    const CheckpointCopy copy;
    copy.edit(kIndex, "model-00001-of-00002.safetensors", "../../etc/passwd");
    EXPECT_THAT(error_of(copy), HasSubstr("not a plain name"));
  }
  {
    const CheckpointCopy copy;
    copy.edit(kIndex, "\"layers.0.attn.q_norm.weight\": \"model-00001-of-00002.safetensors\",", "");
    EXPECT_THAT(
        error_of(copy),
        AllOf(HasSubstr("model-00001-of-00002.safetensors, tensor layers.0.attn.q_norm.weight"),
              HasSubstr("does not list it")));
  }
  const CheckpointCopy copy;
  write_all(copy.file(kIndex), "{\"weight_map\": 3}");
  EXPECT_THAT(error_of(copy), HasSubstr("no weight_map"));
}

TEST(Loader, AnUnknownTensorIsANoteAndAMissingOneAnError) {
  const CheckpointCopy copy;
  copy.edit(kIndex, "\"layers.0.attn.q_norm.weight\"", "\"layers.0.attn.q_norn.weight\"");
  copy.edit(kShard1, "\"layers.0.attn.q_norm.weight\"", "\"layers.0.attn.q_norn.weight\"");
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr("layers.0.attn.q_norm.weight"),
                                    HasSubstr("missing from every shard")));
  const CheckpointCopy extra;
  extra.edit(kShard1, "\"embed.weight\":",
             R"("extra.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"embed.weight":)");
  const auto weights = load_weights(extra.directory(), {});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_THAT((*weights)->notes,
              testing::ElementsAre("1 tensors of unknown use, extra.weight first"));
}

// Copies of the shared embedding and head in a draft block are nobody's concern.
TEST(Loader, DraftCopiesOfEmbeddingAndHeadAreIgnored) {
  const CheckpointCopy copy;
  copy.edit(
      kShard1, "\"embed.weight\":",
      R"("mtp.0.embed.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"embed.weight":)");
  copy.edit(
      kShard1, "\"embed.weight\":",
      R"("mtp.0.head.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"embed.weight":)");
  const auto weights = load_weights(copy.directory(), {});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_TRUE((*weights)->notes.empty());
}

TEST(Loader, HashTablesNameOnlyExpertsThatExist) {
  const CheckpointCopy copy;
  copy.edit("config.json", "\"n_routed_experts\": 8", "\"n_routed_experts\": 7");
  EXPECT_THAT(error_of(copy), HasSubstr("tensor layers.0.ffn.gate.weight"));
  const CheckpointCopy other;
  const auto weights = load_weights(other.directory(), {});
  ASSERT_TRUE(weights);
  const auto& entry = (*weights)->checkpoint.entries().find("layers.0.ffn.gate.tid2eid")->second;
  std::string bytes = read_all(other.file(entry.file));
  const std::string_view table(reinterpret_cast<const char*>(entry.tensor->data),
                               entry.tensor->n_bytes);
  const auto at = bytes.find(table);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 8] = 8;
  write_all(other.file(entry.file), bytes);
  EXPECT_THAT(error_of(other),
              AllOf(HasSubstr("tid2eid: value 8 at 1"), HasSubstr("expected 0 to 7")));
}

TEST(Loader, InspectShowsLayersAndComponents) {
  const CheckpointCopy copy;
  const auto inspection = inspect(copy.directory());
  ASSERT_TRUE(inspection) << inspection.error().message;
  ASSERT_EQ(inspection->layers.size(), 6u);
  EXPECT_EQ(inspection->layers[0].kind, "SWA");
  EXPECT_EQ(inspection->layers[1].kind, "CSA");
  EXPECT_EQ(inspection->layers[2].kind, "HCA");
  EXPECT_TRUE(inspection->layers[1].hashed);
  EXPECT_FALSE(inspection->layers[2].hashed);
  std::uint64_t sum = 0;
  for (const auto& c : inspection->components) sum += c.n_bytes;
  EXPECT_EQ(sum, inspection->n_bytes);
  EXPECT_THAT(inspect_text(*inspection), HasSubstr("routed experts"));
  EXPECT_THAT(inspect_json(copy.directory()).value(), HasSubstr("\"kind\": \"HCA\""));
}

struct ConfigCase {
  const char *from, *to, *says;
};
class ConfigErrors : public testing::TestWithParam<ConfigCase> {};
TEST_P(ConfigErrors, SayWhichKey) {
  const CheckpointCopy copy;
  copy.edit("config.json", GetParam().from, GetParam().to);
  EXPECT_THAT(error_of(copy), AllOf(HasSubstr("config.json"), HasSubstr(GetParam().says)));
}
INSTANTIATE_TEST_SUITE_P(
    , ConfigErrors,
    testing::Values(
        ConfigCase{"deepseek_v4", "llama", "model_type is \"llama\""},
        ConfigCase{"\"model_type\"", "\"nodel_type\"", "model_type is missing"},
        ConfigCase{"\"hidden_size\": 256", "\"hidden_size\": 250", "hidden_size is 250"},
        ConfigCase{"\"hidden_size\": 256", "\"hidden_size\": -1", "hidden_size is -1"},
        ConfigCase{"\"hidden_size\": 256", "\"hidden_size\": 1e300", "hidden_size is 1e+300"},
        ConfigCase{"\"hidden_size\"", "\"x\"", "hidden_size is missing"},
        ConfigCase{"\"o_groups\": 2", "\"o_groups\": 3", "o_groups"},
        ConfigCase{"\"hc_mult\": 4", "\"hc_mult\": 99", "hc_mult is 99"},
        ConfigCase{"sqrtsoftplus", "softmax", "scoring_func"},
        ConfigCase{"\"factor\": 16", "\"factor\": \"x\"", "factor"},
        ConfigCase{"\"compress_ratios\": [", "\"compress_ratios\": [-4,", "compress_ratio is -4"},
        ConfigCase{"\"compress_ratios\": [\n    0,\n    4,",
                   "\"compress_ratios\": [\n    1021,\n    1019,",
                   "compress_ratios have no common multiple"},
        ConfigCase{"\"routed_scaling_factor\"", "\"x\"", "routed_scaling_factor is missing"},
        ConfigCase{"\"index_topk\"", "\"x\"", "index_topk is missing"},
        ConfigCase{"\"index_n_heads\"", "\"x\"", "index_n_heads is missing"},
        ConfigCase{"\"rope_theta\"", "\"x\"", "rope_theta is missing"},
        ConfigCase{"\"compress_rope_theta\"", "\"x\"", "compress_rope_theta is missing"},
        ConfigCase{"\"swiglu_limit\"", "\"x\"", "swiglu_limit is missing"},
        ConfigCase{"\"num_hash_layers\"", "\"x\"", "num_hash_layers is missing"},
        ConfigCase{"\"original_max_position_embeddings\"", "\"x\"",
                   "original_max_position_embeddings is missing"},
        ConfigCase{"\"factor\"", "\"x\"", "factor is missing"},
        ConfigCase{"\"rope_scaling\"", "\"rope_parameters\"",
                   "rope_parameters, its newer name elsewhere, is not read"},
        ConfigCase{"\"type\": \"yarn\"", "\"rope_type\": \"linear\"", "rope_type is \"linear\""},
        ConfigCase{"\"attention_bias\": false", "\"attention_bias\": true",
                   "attention_bias is true"},
        ConfigCase{"\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true",
                   "tie_word_embeddings is true"},
        ConfigCase{"\"expert_dtype\": \"fp4\"", "\"expert_dtype\": \"int4\"",
                   "expert_dtype is \"int4\""},
        ConfigCase{"\"fmt\": \"e4m3\"", "\"fmt\": \"e5m2\"", "fmt is \"e5m2\""},
        ConfigCase{"\"quant_method\": \"fp8\"", "\"quant_method\": \"gptq\"",
                   "quant_method is \"gptq\""},
        ConfigCase{"\"weight_block_size\": [\n      128", "\"weight_block_size\": [\n      64",
                   "weight_block_size is [64,128]"},
        ConfigCase{"\"model_type\": \"deepseek_v4\"", "\"model_type\": 5", "model_type is 5"},
        ConfigCase{"{", "[", "not a JSON object"}));

}  // namespace
}  // namespace lares::engine
