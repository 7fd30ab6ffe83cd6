// The concepts both ways: what models them, and near misses that must not; their erased forms; AsioRuntime.
#include "support/catch.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/core/guard.hpp>
#include <aura/core/journal.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <memory>
#include <optional>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Error;
using aura::ErrorClass;
using aura::Result;
using aura::SteadyTime;

// runtime

struct ManualRuntime {
  asio::io_context* context;
  SteadyTime now{};
  SteadyTime steady_now() const { return now; }
  aura::WallTime wall_now() const { return aura::WallTime(now.time_since_epoch()); }
  asio::any_io_executor executor() const { return context->get_executor(); }
  asio::any_io_executor blocking_executor() const { return context->get_executor(); }
  aura::Random random(std::string_view name) const { return aura::Random::stream(1, name); }
  template <class Token>
  auto async_wait_until(SteadyTime when, Token&& token) {
    now = when;
    return asio::post(context->get_executor(),
                      asio::bind_executor(context->get_executor(), [done = std::forward<Token>(token)]() mutable {
                        std::move(done)(boost::system::error_code());
                      }));
  }
};
struct OneClock : ManualRuntime {
  aura::WallTime steady_now() const { return {}; }  // the wrong time line
};
struct NoBlocking : ManualRuntime {
  void blocking_executor() const {}
};
struct NoDice : ManualRuntime {
  int random(std::string_view) const { return 4; }
};
static_assert(aura::runtime<aura::AsioRuntime> && aura::runtime<ManualRuntime> && aura::runtime<aura::AnyRuntime>);
static_assert(!aura::runtime<OneClock> && !aura::runtime<NoBlocking> && !aura::runtime<NoDice> && !aura::runtime<int>);

// guard

struct Permit {
  int* recorded;
  void record(const aura::AttemptOutcome&) { ++*recorded; }
};
struct Gate {
  int recorded = 0;
  bool open = true;
  Result<Permit> try_acquire(SteadyTime) {
    if (!open) return Error::fixed("gate", 1, ErrorClass::rejected, "closed");
    return Permit{&recorded};
  }
};
struct Silent {};
struct GateWithoutRecord {
  Result<Silent> try_acquire(SteadyTime) { return Silent{}; }
};
struct GateOfTheCalendar {
  Result<Permit> try_acquire(aura::WallTime);
};
struct YesOrNo {
  bool try_acquire(SteadyTime) { return true; }
};
static_assert(aura::guard<Gate> && aura::permit<Permit> && aura::permit<aura::AnyPermit> && aura::guard<aura::AnyGuard>);
static_assert(!aura::guard<GateWithoutRecord> && !aura::guard<GateOfTheCalendar> && !aura::guard<YesOrNo>);

// journal

struct Half {
  void commit(aura::Batch, auto) {}
  void read(const std::string&, std::uint64_t, std::size_t, auto) {}
  void head(const std::string&, auto) {}
  void find(const aura::StreamQuery&, auto) {}
  void acquire_lease(const aura::HolderId&, aura::Duration, aura::WallTime, auto) {}
  void renew_lease(const aura::Lease&, aura::Duration, aura::WallTime, auto) {}
  void release_lease(const aura::Lease&, auto) {}
  void prune(const aura::Retention&, auto) {}
};
struct Whole : Half {
  void claim(const aura::Lease&, std::vector<std::string>, aura::WallTime, auto) {}
};
struct Synchronous : Whole {
  void commit(aura::Batch) {}
};
static_assert(aura::journal<Whole> && !aura::journal<Half> && !aura::journal<Synchronous>);

struct Started {
  int number;
};
struct Ended {};
struct OnlyStarted {
  int* last;
  void operator()(const Started& event) const { *last = event.number; }
};
static_assert(aura::observes<OnlyStarted, Started> && !aura::observes<OnlyStarted, Ended>);
static_assert(!aura::observes<aura::NullObserver, Started>);

}  // namespace

TEST_CASE("an observer is told of the events it has an overload for, and of no others") {
  int last = 0;
  OnlyStarted observer{&last};
  aura::notify(observer, Ended{});
  aura::notify(observer, Started{5});
  REQUIRE(last == 5);
  aura::AnyObserver<Started, Ended> any;
  static_assert(aura::observes<aura::AnyObserver<Started, Ended>, Ended>);
  aura::notify(any, Started{6});
  any.on<Started>([&](const Started& event) { last = event.number; });
  aura::notify(any, Started{7});
  aura::notify(any, Ended{});
  REQUIRE(last == 7);
}

TEST_CASE("any guard passes what its gate passes, and an empty one passes everything") {
  aura::AnyGuard empty;
  REQUIRE_FALSE(empty);
  REQUIRE(empty.try_acquire({}).has_value());
  Gate gate;
  const aura::AnyGuard borrowed(gate);
  const aura::AnyGuard copy = borrowed;
  auto permit = copy.try_acquire({});
  permit->record({});
  permit->record({});  // counts once
  REQUIRE(gate.recorded == 1);
  gate.open = false;
  REQUIRE(borrowed.try_acquire({}).error().message() == "closed");
  std::optional<aura::AnyGuard> shared(std::in_place, std::make_shared<Gate>());
  REQUIRE(shared->try_acquire({}).has_value());
}

TEST_CASE("any runtime does what the one behind it does") {
  asio::io_context context;
  ManualRuntime manual{&context};
  const aura::AnyRuntime any(manual);
  manual.now = SteadyTime(3s);
  REQUIRE(any.steady_now() == SteadyTime(3s));
  REQUIRE(any.wall_now() == aura::WallTime(3s));
  REQUIRE(any.random("a")() == manual.random("a")());
  bool waited = false;
  any.async_wait_for(2s, [&](boost::system::error_code error) { waited = !error; });
  REQUIRE_FALSE(waited);
  context.run();
  REQUIRE(waited);
  REQUIRE(manual.now == SteadyTime(5s));
}

TEST_CASE("a wait in real time ends at once when it is cancelled, on the handler's executor, and never inside its initiation") {
  asio::io_context context, blocking, own;
  aura::AsioRuntime runtime(context.get_executor(), blocking.get_executor(), 1);
  for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
    asio::cancellation_signal stop;
    std::optional<boost::system::error_code> ended;
    bool on_own = false;
    runtime.async_wait_until(
        SteadyTime::max(),
        asio::bind_cancellation_slot(stop.slot(), asio::bind_executor(own.get_executor(), [&](boost::system::error_code error) {
                                       ended = error;
                                       on_own = own.get_executor().running_in_this_thread();
                                     })));
    context.poll();
    own.poll();
    REQUIRE_FALSE(ended);
    stop.emit(type);
    context.restart();
    own.restart();
    context.poll();
    own.restart();
    own.poll();
    REQUIRE(ended == asio::error::operation_aborted);
    REQUIRE(on_own);
    context.restart();
    own.restart();
  }
}

TEST_CASE("a wait for what is past completes, and the clocks of a real host are its own") {
  asio::io_context context;
  aura::AsioRuntime runtime(context.get_executor(), context.get_executor());
  const SteadyTime before = runtime.steady_now();
  bool done = false;
  aura::AnyRuntime(runtime).async_wait_until(before, [&](boost::system::error_code error) { done = !error; });
  REQUIRE_FALSE(done);
  context.run();
  REQUIRE(done);
  REQUIRE(runtime.steady_now() >= before);
  REQUIRE(runtime.wall_now() > aura::WallTime(std::chrono::hours(24 * 365 * 50)));
  aura::AsioRuntime seeded(context.get_executor(), context.get_executor(), 7);
  REQUIRE(seeded.random("x")() == aura::Random::stream(7, "x")());
}

TEST_CASE("a coroutine's or future's token works for a wait as a handler does") {
  asio::io_context context;
  aura::AsioRuntime runtime(context.get_executor(), context.get_executor());
  auto future = runtime.async_wait_until(runtime.steady_now(), asio::use_future);
  context.run();
  REQUIRE_NOTHROW(future.get());
}
