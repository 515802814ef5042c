// A GGUF through the prebuilt libllama v0.5.0: its logits for given tokens, or its speed.
//
//   llama_run logits LIB MODEL TOKENS.json OUT.f32 CHUNK
//   llama_run speed LIB MODEL THREADS PROMPT_TOKENS DECODE_TOKENS REPEATS
//
// LIB is the directory with libllama and its back ends.
//
// logits: f32 cache, flash attention off, one thread. OUT is [n_tokens, n_vocab] f32; CHUNK tokens
// are evaluated at a time.
//
// speed: flash attention on, f16 cache, the rest as in llama.cpp's own programs; decoding takes the
// likeliest token each time. One warm-up, then a line for each repeat, in tokens per second:
//
//   prefill 101.80 decode 39.210 cpu 0.990
//
// cpu is CPU time / (threads x wall time). Its workers spin while they wait, so less than 1 means
// that other programs took cores away.
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <vector>

#include "llama_library.h"

namespace {

using namespace llama;

struct Session {  // a loaded model and one sequence; lives until the program ends
  Session(Library& library, const char* path, int n_tokens, int threads, Flash flash,
          GgmlType cache)
      : l(library) {
    ContextParams p = context_defaults(l);
    void* const model = l.load(path, model_defaults(l));
    if (!model) die("load %s: libllama refused it", path);
    n_vocab = l.n_vocab(l.model_vocab(model));
    p.n_ctx = static_cast<std::uint32_t>((n_tokens + 255) / 256 * 256);
    p.n_batch = std::max(p.n_batch, p.n_ctx);
    p.n_threads = p.n_threads_batch = threads;
    p.flash_attn_type = flash;
    p.type_k = p.type_v = cache;
    p.swa_full = false;  // as llama.cpp's own programs set it: window layers keep their window only
    context = l.init(model, p);
    if (!context) die("create a context for %s: libllama refused it", path);
  }
  void evaluate(const std::int32_t* tokens, int n, const std::int8_t* wanted = nullptr) {
    const Batch batch{n, tokens, nullptr, nullptr, nullptr, nullptr, wanted};
    if (const int e = l.decode(context, batch)) die("llama_decode of %d tokens: error %d", n, e);
  }
  std::int32_t likeliest() const {
    const float* const row = l.logits(context, -1);
    return static_cast<std::int32_t>(std::max_element(row, row + n_vocab) - row);
  }

  Library& l;
  void* context = nullptr;
  std::int32_t n_vocab = 0;
};

int number(const char* text, const char* what) {
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (end == text || *end != 0 || n < 1 || n > 1 << 20)
    die("%s is \"%s\", expected 1 to %d", what, text, 1 << 20);
  return static_cast<int>(n);
}

std::vector<std::int32_t> read_ids(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::int32_t> ids;
  for (const char* at = text.c_str(); *at;) {
    if (*at < '0' || *at > '9') {
      if (!std::strchr("[], \n\r\t", *at)) die("read %s: not a JSON array of token ids", path);
      ++at;
      continue;
    }
    char* end = nullptr;
    ids.push_back(static_cast<std::int32_t>(std::strtol(at, &end, 10)));
    at = end;
  }
  if (ids.empty()) die("read %s: no token ids", path);
  return ids;
}

int logits(Library& l, char** argv) {
  const auto ids = read_ids(argv[1]);
  const int n = static_cast<int>(ids.size()), chunk = std::min(n, number(argv[3], "CHUNK"));
  Session s(l, argv[0], n, 1, kFlashOff, kF32);
  for (const auto id : ids)
    if (id >= s.n_vocab) die("token %d is outside the vocabulary of %d", id, s.n_vocab);
  std::FILE* const out = std::fopen(argv[2], "wb");
  if (!out) die("create %s: %s", argv[2], std::strerror(errno));
  const std::vector<std::int8_t> all(static_cast<std::size_t>(chunk), 1);
  const auto width = static_cast<std::size_t>(s.n_vocab);
  bool good = true;
  for (int at = 0; at < n; at += chunk) {
    const int m = std::min(chunk, n - at);
    s.evaluate(ids.data() + at, m, all.data());
    for (int i = 0; i < m; ++i)
      good &= std::fwrite(l.logits(s.context, i), sizeof(float), width, out) == width;
  }
  if (std::fclose(out) != 0 || !good) die("write %s: the disk is full", argv[2]);
  return 0;
}

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

int speed(Library& l, char** argv) {
  const int threads = number(argv[1], "THREADS"), n_prompt = number(argv[2], "PROMPT_TOKENS");
  const int n_decode = number(argv[3], "DECODE_TOKENS"), repeats = number(argv[4], "REPEATS");
  Session s(l, argv[0], n_prompt + n_decode, threads, kFlashOn, kF16);
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(n_prompt));
  for (int i = 0; i < n_prompt; ++i)  // bench_peer.py gives our engine the same
    prompt[i] = static_cast<std::int32_t>((i + 1) * std::int64_t{7919} % s.n_vocab);
  for (int r = 0; r <= repeats; ++r) {  // the first warms up
    l.memory_clear(l.memory(s.context), true);
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), begun = seconds(CLOCK_MONOTONIC);
    s.evaluate(prompt.data(), n_prompt);
    std::int32_t next = s.likeliest();
    const double read = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < n_decode; ++i) {
      s.evaluate(&next, 1);
      next = s.likeliest();
    }
    const double end = seconds(CLOCK_MONOTONIC);
    if (r == 0) continue;
    std::printf("prefill %.2f decode %.3f cpu %.3f\n", n_prompt / (read - begun),
                n_decode / (end - read),
                (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (threads * (end - begun)));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (!(mode == "logits" && argc == 7) && !(mode == "speed" && argc == 8)) {
    std::fprintf(stderr,
                 "usage: llama_run logits LIB MODEL TOKENS.json OUT.f32 CHUNK\n"
                 "       llama_run speed LIB MODEL THREADS PROMPT_TOKENS DECODE_TOKENS REPEATS\n");
    return 2;
  }
  Library library(argv[2]);
  return mode == "logits" ? logits(library, argv + 3) : speed(library, argv + 3);
}
