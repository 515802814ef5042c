// A server of completions over token ids, whose every token is a function of those before it, so
// that whoever asks in pieces can be compared with whoever asks at once. It breaks where it is
// told.
#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace lares::daemon {

class FakeServer {
 public:
  static constexpr int kVocab = 300;
  static constexpr engine::Token kEos = 299;

  struct Manners {
    int refuse = 0, refuse_with = 503;   // so many requests, with that status
    int break_off = 0, break_after = 0;  // so many streams, after so many tokens, without an end
    bool silent = false;                 // takes the request and says nothing
    bool hangs = false;                  // a stream that would break off stays open instead
    bool tells_ids = true, tells_end = true;  // token_ids; the last token among them
    std::size_t eos_at = 1 << 30;             // the position of the sentence's end
    int tokens_max = 1 << 30;                 // a request, whatever it asks for
    std::string models = R"({"data": [{"id": "first", "max_model_len": 5000}, {"id": "second"}]})";
    std::string tokenize;        // the answer; empty: there is no such path
    int away = 0;                // so many questions for models are answered with 503
    bool takes_min_p = true;     // else it says that it does not, in the stream
    bool takes_logprobs = true;  // the same of them
    int n_cached = -1;           // of a prompt, which usage says; -1: it does not
  };

  FakeServer();
  ~FakeServer();
  std::string url() const;
  void behave(Manners manners);
  std::vector<nlohmann::json> asked() const;    // bodies of completions, refused ones too
  std::string authorization() const;            // of the last request
  int n_cut_off() const { return n_cut_off_; }  // streams whose reader went away

  // Of a draw where they are asked for: its own, as the second likeliest, and those of the ids
  // behind it.
  static float logprob(int place) { return -0.5f * static_cast<float>(place + 1); }

  engine::Token after(const std::vector<engine::Token>& ids) const;
  std::vector<engine::Token> follow(std::vector<engine::Token> ids, int n) const;  // alone

 private:
  using Tcp = boost::asio::ip::tcp;
  void accept();
  void serve(Tcp::socket& socket);
  void complete(Tcp::socket& socket, const std::string& body);
  void wait_for_end(Tcp::socket& socket);

  boost::asio::io_context io_;
  Tcp::acceptor acceptor_;
  mutable std::mutex mutex_;
  Manners manners_;
  std::vector<nlohmann::json> asked_;
  std::string authorization_;
  std::atomic<int> n_cut_off_{0};
  std::atomic<bool> over_{false};
  std::list<std::thread> connections_;
  std::thread thread_;
};

}  // namespace lares::daemon
