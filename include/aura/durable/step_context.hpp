// What an action is told besides its inputs, and how it answers.
#pragma once

#include <aura/core/ids.hpp>
#include <aura/core/journal.hpp>
#include <aura/core/runtime.hpp>
#include <aura/core/trace.hpp>
#include <aura/durable/saga_definition.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

/// One attempt of one step, as its author sees it. Valid until the action has completed. Attempts of different runs, and
/// parallel ones of one run, may be on different threads; one attempt is on one thread at a time.
class StepContext {
 public:
  StepContext(AnyRuntime world, const RunId& run, std::string_view saga, std::string_view step)
      : world_(world), run_(run), saga_(saga), step_(step) {}
  StepContext(const StepContext&) = delete;
  StepContext& operator=(const StepContext&) = delete;

  const RunId& run() const noexcept { return run_; }
  std::string_view saga() const noexcept { return saga_; }
  std::string_view step() const noexcept { return step_; }
  /// From 1. Undoing counts for itself.
  std::uint32_t attempt() const noexcept { return attempt_; }
  /// How often the process died while this step was running; then an earlier attempt may have taken effect.
  std::uint32_t interruptions() const noexcept { return interruptions_; }
  bool compensating() const noexcept { return compensating_; }

  /// The same for every attempt of this step of this run, before and after a crash: "order-17/charge". An action and
  /// its compensation share it; `compensating()` tells them apart, as `sqlite::ParticipantFence` wants them told.
  std::string idempotency_key() const { return run_.str() + "/" + std::string(step_); }

  /// Larger for each later holder of the run: a participant that keeps the largest can refuse a paused one.
  FencingToken fencing_token() const noexcept { return token_; }
  /// When this attempt is given up; the end of time where there is no timeout.
  SteadyTime deadline() const noexcept { return deadline_; }
  const TraceContext& trace() const noexcept { return trace_; }

  /// Signalled when the attempt is given up (timeout, cancelled run, drain). For operations the action starts itself;
  /// a coroutine's own awaits are cancelled without it.
  boost::asio::cancellation_slot cancellation_slot() noexcept { return cancellation_.slot(); }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  /// Where a coroutine of this step runs and an initiated operation should: a strand of the attempt's own, on which the
  /// cancellation is signalled too. For a plain function, the host's executor.
  boost::asio::any_io_executor executor() const { return executor_ ? executor_ : world_.executor(); }
  const AnyRuntime& runtime() const noexcept { return world_; }

  /// Waits through the runtime, so that under simulation the waiting is virtual. `void(error_code)`.
  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto wait(Duration span, Token&& token) const {
    return world_.async_wait_for(span, std::forward<Token>(token));
  }

 protected:
  AnyRuntime world_;
  const RunId& run_;
  std::string_view saga_, step_;
  std::uint32_t attempt_ = 0;
  std::uint32_t interruptions_ = 0;
  bool compensating_ = false;
  std::atomic<bool> cancelled_{false};
  FencingToken token_{};
  SteadyTime deadline_ = SteadyTime::max();
  TraceContext trace_{};
  boost::asio::any_io_executor executor_;
  boost::asio::cancellation_signal cancellation_;
};

/// What an action hands back: its encoded result and, where it asked for that, work to do in the commit's transaction.
struct StepOutput {
  std::string bytes{};
  Effect effect{};
};

/// One attempt as the erased layer sees it. `finish` may be called on any thread, once; later calls are ignored.
class StepCall : public StepContext {
 public:
  using StepContext::StepContext;
  virtual ~StepCall() = default;
  virtual void finish(Result<StepOutput> output) = 0;
  /// True where a plain function may run at once: nothing else of its run is in flight.
  virtual bool alone() const noexcept = 0;
  /// Gives the attempt a strand of its own; before an action that is not plain begins.
  void run_on(boost::asio::any_io_executor strand) noexcept { executor_ = std::move(strand); }
  virtual const PayloadRules& payload() const noexcept = 0;
};

/// What an attempt receives, encoded. Valid only while the action is being started.
struct StepInputs {
  std::string_view input;
  /// The results of the steps it comes after, in that order.
  const std::string_view* results = nullptr;
  /// To undo: the step's own result, null where it is not known whether the action took effect.
  const std::string_view* own_result = nullptr;
};

/// A result together with work that joins the transaction of the step's record: with a journal whose database the
/// step writes to as well, the effect happens exactly once. An error of the effect fails the attempt.
template <class T>
struct WithEffect {
  T value;
  Effect effect;
};
template <>
struct WithEffect<void> {
  Effect effect;
};

}  // namespace aura
