// What threads may do at once: for the thread sanitizer, on pools that contend.
#include "support/catch.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/detail/serializer.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga_runner.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::step;
using aura::version;

/// Enters with one task, whichever way it is run.
template <class F>
void enter(aura::detail::Serializer& serializer, F task) {
  serializer.enter([&] { task(); }, [&] { return std::move(task); });
}

}  // namespace

TEST_CASE("what enters a serializer runs once, never together, each thread's in its order", "[threads]") {
  constexpr std::size_t threads = 4, each = 20'000;
  aura::detail::Serializer serializer;
  std::vector<std::size_t> next(threads, 0);  // not atomic: the serializer is what protects it
  std::size_t out_of_order = 0;
  std::vector<std::thread> pool;
  for (std::size_t t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      for (std::size_t i = 0; i < each; ++i) enter(serializer, [&, t, i] { out_of_order += next[t]++ != i; });
    });
  for (auto& thread : pool) thread.join();
  enter(serializer, [&] {
    REQUIRE(next == std::vector<std::size_t>(threads, each));
    REQUIRE(out_of_order == 0);
  });
}

TEST_CASE("a task may enter again, and may hold the last reference to what owns its serializer", "[threads]") {
  struct Owner {
    aura::detail::Serializer serializer;
    int entered = 0;
  };
  auto owner = std::make_shared<Owner>();
  Owner& there = *owner;
  const std::weak_ptr<Owner> watch = owner;
  enter(there.serializer, [owner = std::move(owner)]() mutable {
    Owner& inside = *owner;
    enter(inside.serializer, [last = std::move(owner)] { ++last->entered; });
    REQUIRE(inside.entered == 0);  // it waits for us to leave
  });
  REQUIRE(watch.expired());
}

TEST_CASE("a journal may be destroyed after its runner, whatever of the runner still waits on the executor") {
  const aura::Saga saga{"s", version{1}, step<"a">([](const int&) {}).pure(),
                        step<"b">([](const int&) {}).pure().after<"a">()};
  for (int moment = 0; moment < 40; ++moment) {  // after so many handlers
    asio::io_context context;
    aura::AsioRuntime runtime(context.get_executor(), context.get_executor(), 1);
    auto journal = std::make_unique<aura::MemoryJournal>(runtime);
    auto runner = std::make_unique<aura::SagaRunner<aura::MemoryJournal>>(
        runtime, *journal, aura::SagaRunnerOptions{.holder = aura::HolderId{"brief"}});
    runner->add(saga).value();
    int answered = 0;
    const auto answer = [&](const auto&) { ++answered; };
    runner->recover(answer);
    while (answered == 0) context.run_one();

    for (int i = 0; i < 3; ++i) runner->run(saga, aura::RunId{"run-" + std::to_string(i)}, i, answer);
    for (int i = 0; i < moment; ++i) context.poll_one();
    runner->wait(aura::RunId{"run-0"}, answer);
    runner->cancel(aura::RunId{"run-1"}, "enough", answer);
    runner->recover(answer);
    runner->drain(1h, answer);
    for (int i = 0; i < moment % 4; ++i) context.poll_one();
    runner.reset();
    journal.reset();
    context.restart();
    context.run();
    REQUIRE(answered == 8);
  }
}

TEST_CASE("a runner, and then its context, may be destroyed with everything in flight, and nothing is leaked") {
  std::shared_ptr<int> watched = std::make_shared<int>(0);
  {
    asio::io_context context;
    asio::thread_pool blocking(1);
    aura::AsioRuntime runtime(context.get_executor(), blocking.get_executor(), 1);
    aura::MemoryJournal journal(runtime);
    aura::Saga saga{
        "waits", version{1},
        step<"wait">([kept = watched](const int&, aura::StepContext& context_of_step) -> asio::awaitable<void> {
          ++*kept;
          co_await context_of_step.wait(1h, asio::use_awaitable);
        }).pure()};
    auto runner = std::make_unique<aura::SagaRunner<aura::MemoryJournal>>(
        runtime, journal, aura::SagaRunnerOptions{.holder = aura::HolderId{"brief"}});
    runner->add(saga).value();
    runner->recover([](aura::Result<aura::SagaRecovery>) {});
    while (!runner->counts("waits", version{1}) || context.poll() > 0) {
    }
    runner->run(saga, aura::RunId{"r"}, 1, [](aura::Result<aura::SagaReport>) {});
    while (*watched == 0) context.run_one();
  }
  REQUIRE(watched.use_count() == 1);  // the saga's definition, its attempt and all that held them are gone
}

TEST_CASE("sagas of every style run on several threads, are cancelled, timed out and drained, and each is answered",
          "[threads]") {
  asio::thread_pool pool(4), blocking(2);
  aura::AsioRuntime runtime(pool.get_executor(), blocking.get_executor(), 1);
  aura::MemoryJournal journal(runtime);
  std::atomic<int> acts{0}, undos{0};
  aura::RetryPolicy quick;
  quick.base = quick.cap = 100us;
  aura::Saga saga{"busy",
                  version{1},
                  step<"plain">([&](const int&) { ++acts; }).undo([&](const int&) { ++undos; }),
                  step<"blocking">([&](const int&) { ++acts; }).undo([&](const int&) { ++undos; }).blocking(),
                  step<"waits">([&](const int& input, aura::StepContext& context) -> asio::awaitable<int> {
                    ++acts;
                    co_await context.wait(std::chrono::microseconds(input % 7 * 50), asio::use_awaitable);
                    co_return input;
                  })
                      .undo([&](const int&) { ++undos; })
                      .timeout(200us)
                      .retry(quick),
                  step<"fails">([&](const int& input, aura::StepContext& context) -> aura::Result<int> {
                    ++acts;
                    if (input % 3 == 0 || context.attempt() == 1)
                      return aura::Error::fixed("test", 1, aura::ErrorClass::transient, "not now");
                    return input;
                  }).undo([&](const int&) {
                      ++undos;
                    }).retry(quick),
                  step<"end">([&](const int&, const int&, const int&) { ++acts; })
                      .after<"plain", "blocking", "waits", "fails">()
                      .pivot()};
  aura::SagaRunner runner{runtime, journal, {.holder = aura::HolderId{"busy"}}};
  runner.add(saga).value();
  runner.recover(asio::use_future).get().value();
  std::vector<std::future<aura::Result<aura::SagaReport>>> reports;
  std::vector<std::future<aura::Result<void>>> cancels;
  for (int i = 0; i < 300; ++i) {
    reports.push_back(runner.run(saga, aura::RunId{"run-" + std::to_string(i)}, i, asio::use_future));
    if (i % 5 == 0)
      cancels.push_back(runner.cancel(aura::RunId{"run-" + std::to_string(i)}, "changed my mind", asio::use_future));
  }
  for (auto& cancel : cancels) (void)cancel.get();
  std::size_t completed = 0, went_back = 0;
  for (auto& report : reports) ++(report.get().value().completed() ? completed : went_back);
  REQUIRE(completed + went_back == 300);
  REQUIRE(went_back >= 100);  // those that fail for good
  REQUIRE(runner.open_runs() == 0);
  const auto counts = runner.counts("busy", version{1});
  REQUIRE(counts->completed == completed);
  REQUIRE(counts->completed + counts->compensated + counts->failed == 300);

  for (int i = 300; i < 400; ++i)
    reports.push_back(runner.run(saga, aura::RunId{"run-" + std::to_string(i)}, i, asio::use_future));
  runner.drain(1ms, asio::use_future).get().value();
  for (std::size_t i = 300; i < 400; ++i) (void)reports[i].get();  // each has an answer, whatever it is
  blocking.join();
  pool.join();
}
