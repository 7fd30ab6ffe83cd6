// Signals that begin durable runs: a SagaRunner behind a run_starter, brought together by the host as in a service.
#include "support/catch.hpp"

#include <aura/core/run_starter.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/operational/signal_router.hpp>
#include <aura/sim/runtime.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using aura::Result;
using Signal = aura::Signal<std::string>;

template <class Runner, class Saga>
struct Starter {
  void start(aura::RunId id, std::string payload, aura::RunStartedHandler done) {
    runner.start(saga.definition(), std::move(id), Result<std::string>(std::move(payload)), std::move(done));
  }
  Runner& runner;
  const Saga& saga;
};

}  // namespace

TEST_CASE("a signal begins its run once, however often it is sent, and is acknowledged by the journal's word") {
  aura::sim::Runtime world;
  aura::MemoryJournal journal(world);
  std::vector<std::string> ran;
  const aura::Saga saga{"echo", aura::version{1},
                        aura::step<"say">([&](const std::string& text) { ran.push_back(text); }).pivot()};
  aura::SagaRunnerOptions options;
  options.holder = aura::HolderId{"test"};
  aura::SagaRunner runner(world, journal, options);
  REQUIRE(runner.add(saga).has_value());
  runner.recover([](const auto& recovered) { REQUIRE(recovered.has_value()); });
  world.run_for(std::chrono::seconds(1));  // a runner renews its lease for ever

  Starter<decltype(runner), decltype(saga)> starter{runner, saga};
  static_assert(aura::run_starter<decltype(starter)>);
  aura::SignalRouter<std::string> router(
      world, {},
      aura::start_runs<Signal>(
          aura::AnyRunStarter(starter), [](const Signal& signal) { return aura::RunId(signal.key); },
          [](const Signal& signal) { return signal.payload; }));
  std::vector<std::optional<Result<void>>> answers(3);
  const auto send = [&](std::size_t whom, std::string payload) {
    Signal signal;
    signal.key = "run-1";
    signal.payload = std::move(payload);
    router.send(std::move(signal), [&answers, whom](Result<void> result) { answers[whom] = std::move(result); });
  };
  send(0, "hello");
  send(1, "hello");
  send(2, "something else");
  world.run_for(std::chrono::seconds(1));
  REQUIRE(answers[0]->has_value());
  REQUIRE(answers[1]->has_value());  // the same run with the same payload: there already
  REQUIRE(answers[2]->error().is(aura::saga_errc::different_input));
  REQUIRE(ran == std::vector<std::string>{"hello"});

  std::optional<Result<aura::SagaReport>> report;
  runner.wait(aura::RunId("run-1"), [&](Result<aura::SagaReport> result) { report = std::move(result); });
  world.run_for(std::chrono::seconds(1));
  REQUIRE((*report)->outcome == aura::RunOutcome::completed);
}

TEST_CASE("what cannot start a run is no run_starter") {
  struct TakesNoPayload {
    void start(aura::RunId, aura::RunStartedHandler) {}
  };
  struct TakesAnInt {
    void start(aura::RunId, int, aura::RunStartedHandler) {}
  };
  STATIC_REQUIRE(!aura::run_starter<TakesNoPayload>);
  STATIC_REQUIRE(!aura::run_starter<TakesAnInt>);
  STATIC_REQUIRE(!aura::run_starter<int>);
}
