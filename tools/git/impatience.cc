#include "tools/git/impatience.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <mutex>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace lares::tools::git {
namespace {

constexpr timespec kWaitMax{0, 50'000'000};

// The thread's own, stopped.
struct Timer {
  Timer() {
    can_be_interrupted();
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kInterrupt;
    event.sigev_notify_thread_id = ::gettid();
    made = ::timer_create(CLOCK_MONOTONIC, &event, &id) == 0;
  }
  ~Timer() {
    if (made) ::timer_delete(id);
  }
  Timer(const Timer&) = delete;
  void set(const timespec& every) const {
    const itimerspec when{every, every};
    if (made) (void)::timer_settime(id, 0, &when, nullptr);
  }
  timer_t id{};
  bool made = false;
  int n_lives = 0;  // of Impatience
};

Timer& timer() {
  thread_local Timer own;
  return own;
}

}  // namespace

void can_be_interrupted() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(kInterrupt, &action, nullptr);
  });
  sigset_t interrupt;
  ::sigemptyset(&interrupt);
  ::sigaddset(&interrupt, kInterrupt);
  ::pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
}

Impatience::Impatience() {
  if (timer().n_lives++ == 0) timer().set(kWaitMax);
}
Impatience::~Impatience() {
  if (--timer().n_lives == 0) timer().set({});
}

}  // namespace lares::tools::git
