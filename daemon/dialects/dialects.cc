#include "daemon/dialects/dialects.h"

namespace lares::daemon {

void add_dialects(Router& router, Generations& generations) {
  add_chat(router, generations);
  add_text_completions(router, generations);
  add_models(router, generations);
  add_messages(router, generations);
  add_responses(router, generations);
  add_tokenize(router, generations);
}

}  // namespace lares::daemon
