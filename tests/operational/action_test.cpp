// What a user hands over to be guarded: every style of it, and its answer exactly once.
#include "support/catch.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/detail/action.hpp>
#include <aura/operational/rejection.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Error;
using aura::ErrorClass;
using aura::Result;

namespace {

/// No default constructor, cannot be copied.
struct Fussy {
  explicit Fussy(int n) : number(std::make_unique<int>(n)) {}
  std::unique_ptr<int> number;
};

/// All answers that an action gave within one run of a world.
template <class F>
auto answers_of(F f) {
  using T = aura::detail::action_value_t<F>;
  aura::sim::Runtime world;
  std::vector<Result<T>> answers;
  aura::detail::start_action(world.executor(), std::move(f),
                             [&](Result<T> result) { answers.push_back(std::move(result)); });
  CHECK(answers.empty());
  world.run();
  return answers;
}

template <class F>
auto answer_of(F f) {
  auto answers = answers_of(std::move(f));
  REQUIRE(answers.size() == 1);
  return std::move(answers.front());
}

template <class F, class T>
constexpr bool gives = std::is_same_v<aura::detail::action_value_t<F>, T>;

// Another library's word for an initiation, of the same shape.
template <class T, class F>
struct Foreign {
  using value_type = T;
  F initiate;
};

}  // namespace

TEST_CASE("the value of an action is what it gives when all goes well") {
  auto plain = [] { return 1; };
  auto nothing = [] {};
  auto result = [] { return Result<std::string>("x"); };
  auto coroutine = []() -> asio::awaitable<Result<int>> { co_return 1; };
  auto quiet = []() -> asio::awaitable<Result<void>> { co_return Result<void>(); };
  auto started = aura::initiation<double>([](auto handler) { handler(1.0); });
  auto foreign = Foreign<double, decltype(started.initiate)>{started.initiate};
  STATIC_REQUIRE(gives<decltype(plain), int>);
  STATIC_REQUIRE(gives<decltype(nothing), void>);
  STATIC_REQUIRE(gives<decltype(result), std::string>);
  STATIC_REQUIRE(gives<decltype(coroutine), int>);
  STATIC_REQUIRE(gives<decltype(quiet), void>);
  STATIC_REQUIRE(gives<decltype(started), double>);
  STATIC_REQUIRE(gives<decltype(foreign), double>);
  STATIC_REQUIRE(gives<int (*)(), int>);
  STATIC_REQUIRE(gives<std::reference_wrapper<decltype(plain)>, int>);
  STATIC_REQUIRE(aura::detail::is_plain_action<decltype(result)>);
  STATIC_REQUIRE(!aura::detail::is_plain_action<decltype(coroutine)>);
  STATIC_REQUIRE(!aura::detail::is_plain_action<decltype(started)>);
  STATIC_REQUIRE(!aura::action<int>);
  STATIC_REQUIRE(!aura::action<int (*)(int)>);
}

TEST_CASE("an action of any style answers once, and never before its start has returned") {
  CHECK(*answer_of([] { return 7; }) == 7);
  CHECK(answer_of([] {}).has_value());
  CHECK(*answer_of([] { return Result<int>(7); }) == 7);
  CHECK(*answer_of([]() -> asio::awaitable<int> { co_return 7; }) == 7);
  CHECK(answer_of([]() -> asio::awaitable<void> { co_return; }).has_value());
  CHECK(*answer_of([]() -> asio::awaitable<Result<int>> { co_return 7; }) == 7);
  CHECK(answer_of([]() -> asio::awaitable<Result<void>> { co_return Result<void>(); }).has_value());
  CHECK(*answer_of(aura::initiation<int>([](auto handler) { handler(7); })) == 7);
  CHECK(answer_of(aura::initiation<void>([](auto handler) { handler({}); })).has_value());
  CHECK(*answer_of(aura::initiation<int>([](std::function<void(Result<int>)> handler) { handler(7); })) == 7);
}

TEST_CASE("a value without a default constructor that only moves is carried through") {
  CHECK(*answer_of([] { return Fussy(7); })->number == 7);
  CHECK(*answer_of([]() -> asio::awaitable<Fussy> { co_return Fussy(7); })->number == 7);
  CHECK(*answer_of(aura::initiation<Fussy>([](auto handler) { handler(Fussy(7)); }))->number == 7);
}

TEST_CASE("an error and an exception are answers") {
  const Error broken = aura::rejection(aura::rejection_errc::bulkhead_full);
  CHECK(answer_of([&]() -> Result<int> { return broken; }).error() == broken);
  CHECK(answer_of([&]() -> asio::awaitable<Result<int>> { co_return broken; }).error() == broken);
  CHECK(answer_of(aura::initiation<int>([&](auto handler) { handler(broken); })).error() == broken);

  const auto thrown = [](const Result<int>& result) {
    return result.error().is(aura::core_errc::exception) && result.error().message() == "the action threw: no";
  };
  CHECK(thrown(answer_of([]() -> int { throw std::runtime_error("no"); })));
  CHECK(thrown(answer_of([]() -> asio::awaitable<int> {
    throw std::runtime_error("no");
    co_return 1;
  })));
  CHECK(thrown(answer_of(aura::initiation<int>([](auto) { throw std::runtime_error("no"); }))));
  CHECK(answer_of([&]() -> int { throw aura::ErrorException(broken); }).error() == broken);
}

TEST_CASE("the first answer of an initiation counts, whatever comes after it") {
  CHECK(*answer_of(aura::initiation<int>([](auto handler) {
    auto copy = handler;
    handler(1);
    copy(2);
    throw std::runtime_error("late");
  })) == 1);
}

TEST_CASE("an initiation that drops its handler has failed") {
  const auto result = answer_of(aura::initiation<int>([](auto) {}));
  REQUIRE(result.has_error());
  CHECK(result.error().is(aura::core_errc::exception));
  CHECK(result.error().error_class() == ErrorClass::transient);
}

TEST_CASE("an action can be called again while another call of it is in flight") {
  aura::sim::Runtime world;
  int calls = 0;
  std::vector<int> answers;
  auto act = [&world, &calls]() -> asio::awaitable<int> {
    const int mine = ++calls;
    co_await world.async_wait_for(10s / mine, asio::use_awaitable);
    co_return mine;
  };
  for (int i = 0; i < 3; ++i)
    aura::detail::start_action(world.executor(), std::ref(act), [&](Result<int> one) { answers.push_back(*one); });
  world.run();
  CHECK(answers == std::vector{3, 2, 1});
}

TEST_CASE("cancellation reaches a coroutine and an initiation") {
  aura::sim::Runtime world;
  aura::AnyRuntime any(world);
  std::vector<ErrorClass> classes;
  const auto try_cancel = [&](auto act) {
    asio::cancellation_signal signal;
    const aura::SteadyTime begun = world.steady_now();
    aura::detail::start_action(
        world.executor(), std::move(act), asio::bind_cancellation_slot(signal.slot(), [&](Result<void> result) {
          classes.push_back(result.has_error() ? result.error().error_class() : ErrorClass::permanent);
        }));
    world.run_for(1s);
    signal.emit(asio::cancellation_type::terminal);
    world.run();
    CHECK(world.steady_now() - begun == 1s);
  };
  try_cancel([any]() -> asio::awaitable<void> { co_await any.async_wait_for(1h, asio::use_awaitable); });
  try_cancel(aura::initiation<void>([any](auto handler) {
    const auto slot = handler.get_cancellation_slot();
    any.async_wait_for(1h, asio::bind_cancellation_slot(slot, [handler](boost::system::error_code error) {
                         if (error)
                           handler(Error::fixed(aura::core_errc::cancelled, ErrorClass::cancelled, "told to stop"));
                         else
                           handler({});
                       }));
  }));
  CHECK(classes == std::vector{ErrorClass::cancelled, ErrorClass::cancelled});
}

TEST_CASE("continuing with a plain action answers before it returns; anything else does not") {
  aura::sim::Runtime world;
  int answer = 0;
  aura::detail::continue_action(
      world.executor(), [] { return 7; }, [&](Result<int> result) { answer = *result; });
  CHECK(answer == 7);
  aura::detail::continue_action(
      world.executor(), []() -> asio::awaitable<int> { co_return 8; }, [&](Result<int> result) { answer = *result; });
  CHECK(answer == 7);
  world.run();
  CHECK(answer == 8);
}

TEST_CASE("an executor that dies takes the action along, and the handler with it") {
  auto held = std::make_shared<int>();
  {
    aura::sim::Runtime world;
    aura::AnyRuntime any(world);
    aura::detail::start_action(
        world.executor(), [] { return 1; }, [held](Result<int>) { FAIL("called"); });
    aura::detail::start_action(
        world.executor(), [any]() -> asio::awaitable<void> { co_await any.async_wait_for(1h, asio::use_awaitable); },
        [held](Result<void>) { FAIL("called"); });
    aura::detail::start_action(world.executor(), aura::initiation<int>([any](auto handler) {
                                 any.async_wait_for(1h, [handler](boost::system::error_code) { handler(1); });
                               }),
                               [held](Result<int>) { FAIL("called"); });
    CHECK(held.use_count() == 4);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("of answers that race, one counts, on the executor", "[threads]") {
  constexpr int rounds = 200;
  asio::thread_pool pool(2);
  std::atomic<int> answers{0};
  std::atomic<bool> elsewhere{false};
  std::vector<std::thread> threads;
  for (int round = 0; round < rounds; ++round)
    aura::detail::start_action(pool.get_executor(), aura::initiation<int>([&threads](auto handler) {
                                 for (int i = 0; i < 2; ++i) threads.emplace_back([handler, i] { handler(i); });
                               }),
                               [&](Result<int>) {
                                 ++answers;
                                 if (!pool.get_executor().running_in_this_thread()) elsewhere = true;
                               });
  for (auto& thread : threads) thread.join();
  pool.join();
  CHECK(answers == rounds);
  CHECK(!elsewhere);
}
