// Who answers what: handlers by method and path, and in whose words a request is refused that none
// of them sees.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/exchange.h"

namespace lares::daemon {

// The body of a refusal (JSON), as the clients of one dialect expect it; `message` is one line.
using HttpErrorBody = std::function<std::string(unsigned status, std::string_view message)>;

class Router {
 public:
  // A path that ends in `/{name}` stands for every one with a segment there; see last_segment().
  // Where both fit, the whole path goes first. Who answers GET answers HEAD. Throws
  // std::logic_error where somebody answers that already.
  void add(std::string method, std::string path, HttpHandler handler);
  // How requests at and below `prefix` are refused: unknown (404, 405), not let in (401, 403), too
  // large (413) and so on. The longest prefix that fits holds; "" is everything, and begins as the
  // OpenAI dialect's {"error": {...}}.
  void shape_errors(std::string prefix, HttpErrorBody body);

  struct Found {
    const HttpHandler* handler = nullptr;
    // No handler: what the path takes instead, "GET, HEAD, POST"; empty: nobody knows the path
    std::string allow;
  };
  Found find(std::string_view method, std::string_view path) const;
  HttpReply refusal(std::string_view path, unsigned status, std::string_view message) const;

 private:
  using Methods = std::map<std::string, HttpHandler, std::less<>>;
  const Methods* methods_of(std::string_view path) const;

  // below_: by what stands before `{name}`, slash included
  std::map<std::string, Methods, std::less<>> whole_, below_;
  std::map<std::string, HttpErrorBody, std::less<>> bodies_;
};

// What stands behind the last slash of a request's path, with %XX decoded; UTF-8.
std::string last_segment(std::string_view path);

}  // namespace lares::daemon
