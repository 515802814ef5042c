// What llama_run uses of llama.h v0.5.0, declared by hand and opened with dlopen: no headers of
// llama.cpp's are needed, and the layout of its structs is checked against what the library itself
// fills in before anything is passed to it.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace llama {

static_assert(sizeof(void*) == 8, "the package is for x86-64");

enum GgmlType : std::int32_t { kF32 = 0, kF16 = 1 };
enum Flash : std::int32_t { kFlashAuto = -1, kFlashOff = 0, kFlashOn = 1 };
constexpr int kLogError = 4;  // ggml_log_level; 5 goes on with the line before

struct ModelParams {
  void *devices, *buffer_overrides;
  std::int32_t n_gpu_layers, split_mode, load_mode, lazy_mode, main_gpu;
  const float* tensor_split;
  void *progress, *progress_data, *kv_overrides;
  bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
};
struct ContextParams {
  std::uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
  std::int32_t n_threads, n_threads_batch;
  std::int32_t ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type;
  float rope_freq_base, rope_freq_scale, yarn_ext_factor, yarn_attn_factor, yarn_beta_fast;
  float yarn_beta_slow;
  std::uint32_t yarn_orig_ctx;
  float defrag_thold;
  void *cb_eval, *cb_eval_data;
  std::int32_t type_k, type_v;
  void *abort, *abort_data;
  bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
  void* rest[3];  // samplers and their number, and one more; all null by default
};
// Null pos, n_seq_id, seq_id: the next positions of sequence 0. Null logits: the last token's only.
struct Batch {
  std::int32_t n_tokens;
  const std::int32_t* token;
  const float* embd;
  const std::int32_t *pos, *n_seq_id, *const *seq_id;
  const std::int8_t* logits;
};

template <class... Args>
[[noreturn]] void die(const char* format, Args... args) {
  std::fprintf(stderr, "llama_run: ");
  std::fprintf(stderr, format, args...);
  std::fprintf(stderr, "\n");
  std::exit(1);
}

struct Library {
  explicit Library(const std::string& directory) {
    const std::string path = directory + "/libllama.v0.5.0.so";
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) die("open %s: %s", path.c_str(), dlerror());
    bind(load_backends, "ggml_backend_load_all_from_path");
    bind(log_set, "llama_log_set");
    bind(backend_init, "llama_backend_init");
    bind(load, "llama_model_load_from_file");
    bind(model_vocab, "llama_model_get_vocab");
    bind(n_vocab, "llama_vocab_n_tokens");
    bind(init, "llama_init_from_model");
    bind(decode, "llama_decode");
    bind(logits, "llama_get_logits_ith");
    bind(memory, "llama_get_memory");
    bind(memory_clear, "llama_memory_clear");
    log_set(
        [](int level, const char* text, void*) {
          if (level == kLogError) std::fputs(text, stderr);
        },
        nullptr);
    load_backends(directory.c_str());
    backend_init();
  }
  template <class F>
  void bind(F*& function, const char* name) {
    function = reinterpret_cast<F*>(dlsym(handle, name));
    if (!function) die("libllama has no %s, which v0.5.0 has", name);
  }
  // The library's defaults. It fills a returned struct through a hidden pointer (x86-64 System V),
  // here into a buffer larger than any version's struct, twice over different bytes: the last byte
  // that comes out equal is where its last field ends.
  template <class P>
  P defaults(const char* name, std::size_t fields_end) {
    void* (*fill)(void*);
    bind(fill, name);
    alignas(16) unsigned char a[1024], b[1024];
    std::memset(a, 0xA5, sizeof a);
    std::memset(b, 0x5A, sizeof b);
    fill(a);
    fill(b);
    std::size_t end = sizeof a;
    while (end > 0 && a[end - 1] != b[end - 1]) --end;
    if (end != fields_end)
      die("%s fills %zu bytes, v0.5.0 fills %zu: another llama.h; fetch the package again", name,
          end, fields_end);
    P p;
    std::memcpy(&p, a, sizeof p);
    return p;
  }

  void* handle;
  void (*load_backends)(const char*);
  void (*log_set)(void (*)(int, const char*, void*), void*);
  void (*backend_init)();
  void* (*load)(const char*, ModelParams);
  const void* (*model_vocab)(const void*);
  std::int32_t (*n_vocab)(const void*);
  void* (*init)(void*, ContextParams);
  std::int32_t (*decode)(void*, Batch);
  const float* (*logits)(void*, std::int32_t);  // waits for the evaluation
  void* (*memory)(const void*);
  void (*memory_clear)(void*, bool);
};

inline ModelParams model_defaults(Library& l) {
  const auto p = l.defaults<ModelParams>("llama_model_default_params",
                                         offsetof(ModelParams, load_mtp) + sizeof(bool));
  if (p.n_gpu_layers != -1 || p.split_mode != 1 || p.load_mode != -1 || p.lazy_mode != 1 ||
      p.vocab_only || p.check_tensors || !p.use_extra_bufts || p.no_host || p.no_alloc)
    die("llama_model_default_params differs from v0.5.0: a field moved; fetch the package again");
  return p;
}
inline ContextParams context_defaults(Library& l) {
  const auto p = l.defaults<ContextParams>(
      "llama_context_default_params", offsetof(ContextParams, rest) + sizeof ContextParams::rest);
  if (p.n_ctx != 512 || p.n_batch != 2048 || p.n_ubatch != 512 || p.n_seq_max != 1 ||
      p.n_threads != 4 || p.n_threads_batch != 4 || p.flash_attn_type != kFlashAuto ||
      p.yarn_ext_factor != -1 || p.defrag_thold != -1 || p.type_k != kF16 || p.type_v != kF16 ||
      p.embeddings || !p.offload_kqv || !p.no_perf || !p.op_offload || !p.swa_full || p.kv_unified)
    die("llama_context_default_params differs from v0.5.0: a field moved; fetch the package again");
  return p;
}

}  // namespace llama
