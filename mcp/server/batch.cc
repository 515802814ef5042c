#include "mcp/server/batch.h"

namespace lares::mcp::server {

class Batch::One final : public Outlet {
 public:
  explicit One(std::shared_ptr<Batch> batch) : batch_(std::move(batch)) {}
  void send(std::string message) override { batch_->out_->send(std::move(message)); }
  void finish(std::string message, int) override { batch_->finished(std::move(message)); }
  void let_go() override { batch_->out_->let_go(); }

 private:
  const std::shared_ptr<Batch> batch_;
};

std::shared_ptr<Outlet> Batch::request() {
  ++n_, ++n_open_;
  return std::make_shared<One>(shared_from_this());
}

// "": it was cancelled, and has none.
void Batch::finished(std::string answer) {
  --n_open_;
  if (!answer.empty()) {
    if (out_->answers_apart())
      out_->answer(std::move(answer));
    else
      (answers_ += answers_.empty() ? '[' : ',') += answer;
  }
  end_if_whole();
}

bool Batch::close() {
  closed_ = true;
  if (n_ > 0) end_if_whole();
  return n_ > 0;
}

void Batch::end_if_whole() {
  if (!closed_ || n_open_ > 0) return;
  if (!answers_.empty()) answers_ += ']';
  out_->finish(std::move(answers_), 200);
}

}  // namespace lares::mcp::server
