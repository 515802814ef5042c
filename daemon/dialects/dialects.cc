#include "daemon/dialects/dialects.h"

namespace lares::daemon {

void add_dialects(const AddRoute& add, Generations& generations) {
  add_chat(add, generations);
  add_fim(add, generations);
  add_models(add, generations);
}

}  // namespace lares::daemon
