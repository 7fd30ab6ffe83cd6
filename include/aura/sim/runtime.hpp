// Asio work in virtual time: ten hours of waiting pass in microseconds, and one seed replays one order of everything.
#pragma once

#include <aura/core/runtime.hpp>
#include <aura/sim/detail/event_queue.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

namespace aura::sim {

/// In which order events run that are ready at the same instant. A strand keeps its own order under both.
enum class Order : std::uint8_t {
  seeded,  ///< any of them, by the seed: another seed explores another schedule
  fifo,  ///< as they became ready
};

struct RuntimeOptions {
  std::uint64_t seed = 1;
  WallTime wall_start{std::chrono::seconds(1'767'225'600)};  ///< 2026-01-01T00:00:00Z
  Order order = Order::seeded;
  /// Events that may wait at once. One more makes the initiation throw std::length_error.
  std::size_t pending_max = std::size_t{1} << 24;
  /// Events that may run at one instant. One more makes `run` throw std::runtime_error: without it, work that
  /// re-posts itself would hang the test, as time never moves on.
  std::uint64_t steps_per_instant_max = 50'000'000;
};

/// An `aura::runtime` and an Asio execution context whose time is virtual: it stands still while handlers run, and
/// jumps to the next event when none is ready.
///
///     aura::sim::Runtime world({.seed = 7});
///     boost::asio::co_spawn(world, my_workflow(world), boost::asio::detached);
///     world.run();
///
/// Everything that runs, waits or draws through it is a function of the seed: `digest()` says which order came about.
/// Only waits through the runtime are virtual: a boost::asio::steady_timer on its executor would wait in real time.
///
/// Single-threaded: use it only on the thread that made it or that last called `run`. Work handed in from another
/// thread is refused by std::logic_error, as no seed could replay it. An exception that leaves a handler leaves
/// `run`, which can be called again. Destroying it destroys what is pending without running it.
class Runtime : public boost::asio::execution_context {
  enum class Lane : std::uint8_t { none, handlers, blocking };

 public:
  class Executor;
  using executor_type = Executor;
  using Options = RuntimeOptions;

  Runtime() : Runtime(Options{}) {}
  explicit Runtime(const Options& options)
      : options_(options),
        wall_at_zero_(options.wall_start),
        order_dice_(random("aura.sim.order")),
        blocking_dice_(random("aura.sim.blocking")) {}
  ~Runtime() {
    queue_.clear();
    shutdown();  // strands destroy what they queued,
    queue_.clear();  // and a destroyed coroutine posts its unwinding
  }

  // The `runtime` concept.

  /// Begins at zero.
  SteadyTime steady_now() const noexcept { return saturating_add(now_, spent_); }
  WallTime wall_now() const noexcept { return saturating_add(wall_at_zero_, steady_now().time_since_epoch()); }
  Executor executor() noexcept;
  /// A second executor of the same context. Its jobs overlap freely; each runs once the latency that is set has
  /// passed.
  Executor blocking_executor() noexcept;
  Executor get_executor() noexcept;
  Random random(std::string_view name) const noexcept { return Random::stream(options_.seed, name); }

  /// Signature void(error_code). SteadyTime::max() is never. Any type of cancellation ends the wait with
  /// `operation_aborted`; a cancelled wait frees its place at once. One allocation.
  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_wait_until(SteadyTime when, Token&& token) {
    return boost::asio::async_initiate<Token, void(boost::system::error_code)>(
        [this](auto handler, SteadyTime at) { this->add_wait(at, std::move(handler)); }, token, when);
  }
  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_wait_for(Duration span, Token&& token) {
    return async_wait_until(saturating_add(steady_now(), span), std::forward<Token>(token));
  }

  // Running. Each returns how many events ran.

  /// Until nothing is pending but waits for never, or `stop`.
  std::uint64_t run() { return run_until(SteadyTime::max()); }
  /// What is due at `when` or before; then it is `when`, unless `stop` was called.
  std::uint64_t run_until(SteadyTime when);
  std::uint64_t run_for(Duration span) { return run_until(saturating_add(steady_now(), span)); }
  /// One event, after moving time to it where none is ready. False where nothing is pending.
  bool run_one() { return running_here(), step(SteadyTime::max()); }
  /// Makes the innermost `run` return after the event that runs now.
  void stop() noexcept { stopped_ = true; }

  // The clocks.

  /// Time passes with nothing running. In a handler the whole host stands still meanwhile; in a job of the blocking
  /// executor only that job does: what it posts comes later.
  void advance(Duration span);
  /// Sets the calendar, as an operator or NTP would: the steady clock and every wait stay as they are.
  void set_wall(WallTime now) noexcept { wall_at_zero_ = now - steady_now().time_since_epoch(); }
  void step_wall(Duration by) noexcept { wall_at_zero_ += by; }

  /// How long a job of the blocking executor takes, from its posting on; zero by default. The second form is asked
  /// for each job.
  void set_blocking_latency(Duration latency) {
    set_blocking_latency([latency](Random&) { return latency; });
  }
  void set_blocking_latency(std::function<Duration(Random&)> latency) { blocking_latency_ = std::move(latency); }

  // What happened.

  std::uint64_t seed() const noexcept { return options_.seed; }
  /// Events that ran so far.
  std::uint64_t steps() const noexcept { return steps_; }
  /// Events that wait to run.
  std::size_t pending() const noexcept { return queue_.size(); }
  /// A hash over kind, time and number of every event that ran, in order: equal where two runs were the same.
  std::uint64_t digest() const noexcept { return digest_; }

 private:
  using EventKind = detail::EventKind;

  template <class Function>
  struct Work;
  template <class Handler>
  struct Wait;
  struct Canceller;

  template <class Function>
  void add_work(Lane lane, Function&& function);
  template <class Handler>
  void add_wait(SteadyTime when, Handler handler);
  void add(SteadyTime due, std::unique_ptr<detail::Event> event);

  bool step(SteadyTime limit);
  void run_event(std::unique_ptr<detail::Event> event);
  void running_here() noexcept { thread_ = std::this_thread::get_id(); }

  Options options_;
  detail::EventQueue queue_;
  SteadyTime now_{};
  Duration spent_{};  // by the blocking job that runs now
  WallTime wall_at_zero_;
  Random order_dice_;
  Random blocking_dice_;
  std::function<Duration(Random&)> blocking_latency_;
  std::thread::id thread_ = std::this_thread::get_id();
  Lane lane_ = Lane::none;  // of the event that runs now
  bool stopped_ = false;
  std::uint64_t made_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t steps_at_instant_ = 0;
  std::uint64_t digest_ = 0;
};

/// Two pointers' size. Dispatching runs in place where a handler of the same executor runs, as io_context does.
class Runtime::Executor {
 public:
  Runtime& query(boost::asio::execution::context_t) const noexcept { return *runtime_; }
  boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept {
    if (in_place_) return boost::asio::execution::blocking.possibly;
    return boost::asio::execution::blocking.never;
  }
  Executor require(boost::asio::execution::blocking_t::never_t) const noexcept { return {*runtime_, lane_, false}; }
  Executor require(boost::asio::execution::blocking_t::possibly_t) const noexcept { return {*runtime_, lane_, true}; }

  template <class Function>
  void execute(Function&& function) const {
    if (in_place_ && runtime_->lane_ == lane_ && runtime_->thread_ == std::this_thread::get_id()) {
      std::decay_t<Function> here(std::forward<Function>(function));
      std::move(here)();
    } else {
      runtime_->add_work(lane_, std::forward<Function>(function));
    }
  }

  friend bool operator==(const Executor&, const Executor&) noexcept = default;

 private:
  friend class Runtime;
  Executor(Runtime& runtime, Lane lane, bool in_place) noexcept
      : runtime_(&runtime), lane_(lane), in_place_(in_place) {}

  Runtime* runtime_;
  Lane lane_;
  bool in_place_;
};

template <class Function>
struct Runtime::Work final : detail::Event {
  Work(EventKind of_kind, Function&& held) : Event(of_kind), function(std::move(held)) {}
  Work(EventKind of_kind, const Function& held) : Event(of_kind), function(held) {}

  void run() override {
    Function held(std::move(function));
    delete this;
    std::move(held)();
  }

  Function function;
};

/// Sits in a cancellation slot and points at a wait. Whichever goes first tells the other.
struct Runtime::Canceller {
  Canceller(Runtime& world, detail::Event& wait, Canceller*& back) noexcept
      : runtime(&world), event(&wait), link(&back) {
    *link = this;
  }
  Canceller(const Canceller&) = delete;
  Canceller& operator=(const Canceller&) = delete;
  ~Canceller() {
    if (event != nullptr) *link = nullptr;
  }

  void operator()(boost::asio::cancellation_type) {
    if (event != nullptr && runtime->queue_.wake_early(*event)) event->kind = EventKind::cancelled_timer;
  }

  Runtime* runtime;
  detail::Event* event;  // null once the wait is over
  Canceller** link;
};

template <class Handler>
struct Runtime::Wait final : detail::Event {
  using HandlerExecutor = boost::asio::associated_executor_t<Handler, Executor>;
  using Tracked = std::decay_t<decltype(boost::asio::prefer(std::declval<const HandlerExecutor&>(),
                                                            boost::asio::execution::outstanding_work.tracked))>;

  Wait(const HandlerExecutor& own, Handler&& held)
      : Event(EventKind::timer),
        executor(boost::asio::prefer(own, boost::asio::execution::outstanding_work.tracked)),
        handler(std::move(held)) {}
  ~Wait() override {
    if (canceller != nullptr) canceller->event = nullptr;
  }

  void run() override {
    boost::system::error_code error;
    if (kind == EventKind::cancelled_timer) error = boost::asio::error::operation_aborted;
    const Tracked where(std::move(executor));
    Handler held(std::move(handler));
    delete this;
    boost::asio::dispatch(where, [held = std::move(held), error]() mutable { std::move(held)(error); });
  }

  Canceller* canceller = nullptr;
  Tracked executor;
  Handler handler;
};

inline Runtime::Executor Runtime::executor() noexcept { return {*this, Lane::handlers, true}; }
inline Runtime::Executor Runtime::blocking_executor() noexcept { return {*this, Lane::blocking, true}; }
inline Runtime::Executor Runtime::get_executor() noexcept { return executor(); }

inline std::uint64_t Runtime::run_until(SteadyTime when) {
  running_here();
  stopped_ = false;
  const std::uint64_t before = steps_;
  while (!stopped_ && step(when)) {
  }
  if (!std::exchange(stopped_, false) && when != SteadyTime::max() && now_ < when) {
    now_ = when;
    steps_at_instant_ = 0;
  }
  return steps_ - before;
}

inline void Runtime::advance(Duration span) {
  if (span <= Duration::zero()) return;
  if (lane_ == Lane::blocking) {
    spent_ += span;
  } else {
    now_ = saturating_add(now_, span);
    steps_at_instant_ = 0;
  }
}

/// Runs one event that is due at `limit` or before; false where there is none.
inline bool Runtime::step(SteadyTime limit) {
  queue_.wake(now_);
  if (!queue_.has_ready()) {
    const SteadyTime next = queue_.next_due();
    if (next > limit || next == SteadyTime::max()) return false;
    now_ = next;
    steps_at_instant_ = 0;
    queue_.wake(now_);
  }
  if (++steps_at_instant_ > options_.steps_per_instant_max)
    throw std::runtime_error("sim::Runtime: more than " + std::to_string(options_.steps_per_instant_max) +
                             " events ran at one instant (steps_per_instant_max), seed " +
                             std::to_string(options_.seed) + ": does work re-post itself without waiting?");
  run_event(options_.order == Order::fifo ? queue_.take_first() : queue_.take_any(order_dice_));
  return true;
}

inline void Runtime::run_event(std::unique_ptr<detail::Event> event) {
  struct Restore {
    Runtime& world;
    Lane lane;
    Duration spent;
    ~Restore() {
      world.lane_ = lane;
      world.spent_ = spent;
    }
  } restore{*this, lane_, spent_};  // a handler may run the runtime itself

  lane_ = event->kind == EventKind::blocking_work ? Lane::blocking : Lane::handlers;
  spent_ = Duration::zero();
  ++steps_;
  digest_ = mix64(digest_ ^ static_cast<std::uint64_t>(event->kind));
  digest_ = mix64(digest_ ^ static_cast<std::uint64_t>(now_.time_since_epoch().count()));
  digest_ = mix64(digest_ ^ event->sequence);
  event.release()->run();
}

template <class Function>
void Runtime::add_work(Lane lane, Function&& function) {
  const bool blocking = lane == Lane::blocking;
  const EventKind kind = blocking ? EventKind::blocking_work : EventKind::work;
  Duration latency{};
  if (blocking && blocking_latency_) latency = blocking_latency_(blocking_dice_);
  add(saturating_add(steady_now(), latency),
      std::make_unique<Work<std::decay_t<Function>>>(kind, std::forward<Function>(function)));
}

template <class Handler>
void Runtime::add_wait(SteadyTime when, Handler handler) {
  auto own_executor = boost::asio::get_associated_executor(handler, executor());
  auto slot = boost::asio::get_associated_cancellation_slot(handler);
  auto wait = std::make_unique<Wait<Handler>>(own_executor, std::move(handler));
  if (slot.is_connected()) slot.template emplace<Canceller>(*this, *wait, wait->canceller);
  add(when, std::move(wait));
}

inline void Runtime::add(SteadyTime due, std::unique_ptr<detail::Event> event) {
  if (thread_ != std::this_thread::get_id())
    throw std::logic_error("sim::Runtime: work came from a thread that does not run it");
  if (queue_.size() >= options_.pending_max)
    throw std::length_error("sim::Runtime: more than " + std::to_string(options_.pending_max) +
                            " events pending (pending_max)");
  event->sequence = ++made_;
  const SteadyTime earliest = steady_now();
  if (due <= earliest) due = earliest;
  if (due <= now_)
    queue_.add_ready(std::move(event));
  else
    queue_.add_later(due, std::move(event));
}

static_assert(runtime<Runtime>);

}  // namespace aura::sim
