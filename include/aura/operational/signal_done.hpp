// How a handler that ends later says that it has ended.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace aura {

namespace detail {

/// Who waits for the ends of calls.
class SignalFinisher {
 public:
  virtual ~SignalFinisher() = default;
  virtual void finish(SignalTicket ticket, Result<void> result) = 0;
};

}  // namespace detail

/// Ends one call of a handler, from any thread. Copyable; the first call counts. Where every copy is dropped without a
/// call, the signals count as failed: a handler can lose its way, a key cannot stay blocked.
class SignalDone {
 public:
  SignalDone(std::shared_ptr<detail::SignalFinisher> whom, SignalTicket ticket)
      : pending_(std::make_shared<Pending>(std::move(whom), ticket)) {}

  void operator()(Result<void> result = {}) const {
    if (!pending_->ended.exchange(true)) pending_->whom->finish(pending_->ticket, std::move(result));
  }

 private:
  struct Pending {
    Pending(std::shared_ptr<detail::SignalFinisher> to, SignalTicket of) : whom(std::move(to)), ticket(of) {}
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    ~Pending() {
      if (!ended.exchange(true))
        whom->finish(ticket, Error::fixed(core_errc::exception, ErrorClass::transient,
                                          "the signal handler dropped its SignalDone"));
    }
    std::shared_ptr<detail::SignalFinisher> whom;
    SignalTicket ticket;
    std::atomic<bool> ended{false};
  };
  std::shared_ptr<Pending> pending_;
};

}  // namespace aura
