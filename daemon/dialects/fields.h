// Reads a request's fields one after the other; the first that is wrong is what the client is told.
// Null is absent, and what is not asked for is ignored.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/dialects/wire.h"

namespace lares::daemon {

class Fields {
 public:
  // `at`: what stands before the names in messages, such as "messages[2]."; empty: the body itself.
  explicit Fields(const WireJson& object, std::string at = "")
      : object_(object), at_(std::move(at)) {}

  const std::optional<WireError>& error() const { return error_; }
  // "NAME must be MUST"; the first counts
  void refuse(std::string_view name, std::string_view must);

  const WireJson* any(std::string_view name) const { return field_of(object_, name); }
  const WireJson* object(std::string_view name);
  const WireJson* array(std::string_view name);
  std::optional<std::string> text(std::string_view name);
  std::optional<std::string> word(std::string_view name,
                                  const std::vector<std::string_view>& words);
  std::optional<std::int64_t> whole(std::string_view name, std::int64_t low, std::int64_t high);
  std::optional<double> number(std::string_view name, double low, double high);
  bool flag(std::string_view name, bool otherwise);

  std::string path(std::string_view name) const { return at_ + std::string(name); }

 private:
  const WireJson& object_;
  std::string at_;
  std::optional<WireError> error_;
};

// temperature, top_p, presence_penalty, frequency_penalty, seed. Where the model `thinks` all but
// the seed are read and change nothing, as the hosted API has it: reasoning is sampled as it was
// trained.
void read_sampling(Fields& fields, bool thinks, engine::Sampling& sampling);
std::vector<std::string> read_stop(Fields& fields);  // "stop": a text or several

// The model a request names; retired names are a 404 that says what to use instead.
inline constexpr std::string_view kModelFlash = "deepseek-v4-flash", kModelPro = "deepseek-v4-pro";
std::optional<WireError> retired(std::string_view model);
std::string read_model(Fields& fields, std::optional<WireError>& error);

}  // namespace lares::daemon
