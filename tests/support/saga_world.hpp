// A runner in virtual time: the world, a journal whose content outlives runners, and ways to ask without callbacks.
#pragma once

#include "support/catch.hpp"
#include "support/fallible_journal.hpp"

#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/sim/runtime.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// Writes down what a runner tells.
struct Told {
  std::shared_ptr<std::vector<std::string>> lines = std::make_shared<std::vector<std::string>>();

  void operator()(const aura::RunStarted& e) { line("started", e.run); }
  void operator()(const aura::RunEnded& e) { line(to_string(e.outcome), e.run); }
  void operator()(const aura::AttemptEnded& e) {
    line(std::string(e.compensating ? "undo " : "act ") + std::string(e.step) + " " + std::to_string(e.attempt) +
             (e.outcome.ok() ? " ok" : " " + std::string(to_string(*e.outcome.failure))),
         e.run);
  }
  void operator()(const aura::StepStuck& e) { line("stuck " + std::string(e.step), e.run); }
  void operator()(const aura::DeadLetterRefused& e) { line("letter refused", e.run); }
  void operator()(const aura::GuardRejected& e) { line("rejected " + std::string(e.step), e.run); }
  void operator()(const aura::RunHeld& e) { line("held", e.run); }
  void operator()(const aura::RunLost& e) { line("lost", e.run); }
  void operator()(const aura::CommitDelayed& e) { line("delayed", e.run); }

  void line(std::string_view what, std::string_view run) const {
    lines->push_back(std::string(run) + ": " + std::string(what));
  }
  std::size_t count(std::string_view line) const {
    return static_cast<std::size_t>(std::count(lines->begin(), lines->end(), line));
  }
};

struct SagaWorld {
  using Journal = FallibleJournal<aura::MemoryJournal>;
  using Runner = aura::SagaRunner<Journal, Told>;

  explicit SagaWorld(std::uint64_t seed = 1) : runtime({.seed = seed}) {}
  ~SagaWorld() { settle(); }

  /// Runs what is pending until the handler has its answer.
  template <class T>
  using Answer = std::function<void(aura::Result<T>)>;

  template <class T>
  aura::Result<T> ask(const std::function<void(Answer<T>)>& start) {
    const auto answer = std::make_shared<std::optional<aura::Result<T>>>();
    start([answer](aura::Result<T> result) { answer->emplace(std::move(result)); });
    REQUIRE_FALSE(answer->has_value());  // nothing completes inside its own initiation
    for (int i = 0; i < 2'000'000 && !*answer; ++i)
      if (!runtime.run_one()) break;
    REQUIRE(answer->has_value());
    return **answer;
  }
  /// What is ready now, without moving time on.
  void settle() { runtime.run_until(runtime.steady_now()); }

  aura::SagaRunnerOptions options(std::string holder = "alice") const {
    aura::SagaRunnerOptions made;
    made.holder = aura::HolderId{std::move(holder)};
    return made;
  }
  std::unique_ptr<Runner> runner(aura::SagaRunnerOptions with) {
    return std::make_unique<Runner>(runtime, journal, std::move(with), told);
  }
  std::unique_ptr<Runner> runner() { return runner(options()); }

  aura::SagaRecovery recover(Runner& with) {
    return ask<aura::SagaRecovery>([&](Answer<aura::SagaRecovery> done) { with.recover(std::move(done)); }).value();
  }
  template <class Saga>
  std::unique_ptr<Runner> ready(const Saga& saga, aura::SagaRunnerOptions with) {
    auto made = runner(std::move(with));
    made->add(saga.definition()).value();
    recover(*made);
    return made;
  }
  template <class Saga>
  std::unique_ptr<Runner> ready(const Saga& saga) {
    return ready(saga, options());
  }

  template <class Saga, class Input>
  aura::Result<void> start(Runner& with, const Saga& saga, const std::string& id, Input input,
                           aura::SagaStart extra = {}) {
    return start(with, saga.definition(), id, saga.encode_input(input), std::move(extra));
  }
  aura::Result<void> start(Runner& with, const std::shared_ptr<const aura::SagaDefinition>& saga, const std::string& id,
                           aura::Result<std::string> input, aura::SagaStart extra) {
    return ask<void>([&](Answer<void> done) {
      with.start(saga, aura::RunId{id}, std::move(input), std::move(done), std::move(extra));
    });
  }
  template <class Saga, class Input>
  aura::Result<aura::SagaReport> run(Runner& with, const Saga& saga, const std::string& id, Input input) {
    const aura::Result<void> begun = start(with, saga, id, input);
    if (!begun) return begun.error();
    return wait(with, id);
  }
  aura::Result<aura::SagaReport> wait(Runner& with, const std::string& id) {
    return ask<aura::SagaReport>([&](Answer<aura::SagaReport> done) { with.wait(aura::RunId{id}, std::move(done)); });
  }
  aura::Result<void> cancel(Runner& with, const std::string& id) {
    return ask<void>([&](Answer<void> done) { with.cancel(aura::RunId{id}, "enough", std::move(done)); });
  }
  aura::Result<void> retry(Runner& with, const std::string& id, std::string step) {
    return ask<void>([&](Answer<void> done) { with.retry(aura::RunId{id}, std::move(step), "try", std::move(done)); });
  }
  aura::Result<void> skip(Runner& with, const std::string& id, std::string step) {
    return ask<void>([&](Answer<void> done) { with.skip(aura::RunId{id}, std::move(step), "why not", std::move(done)); });
  }
  aura::Result<void> supply(Runner& with, const std::string& id, std::string step, std::string bytes) {
    return ask<void>(
        [&](Answer<void> done) { with.supply(aura::RunId{id}, std::move(step), std::move(bytes), std::move(done)); });
  }
  aura::Result<void> drain(Runner& with, aura::Duration patience) {
    return ask<void>([&](Answer<void> done) { with.drain(patience, std::move(done)); });
  }

  std::optional<aura::StreamHead> head(const std::string& stream) {
    return ask<std::optional<aura::StreamHead>>([&](Answer<std::optional<aura::StreamHead>> done) { memory.head(stream, std::move(done)); }).value();
  }
  std::string state_of(const std::string& run) {
    const auto found = head("saga/" + run);
    return found ? found->state : "";
  }
  std::vector<aura::Record> history(const std::string& run) {
    return ask<std::vector<aura::Record>>([&](Answer<std::vector<aura::Record>> done) { memory.read("saga/" + run, 0, 1000, std::move(done)); })
        .value();
  }
  aura::Result<void> leave(const aura::SagaCommand& command, std::string_view id) {
    return ask<void>([&](Answer<void> done) {
      memory.commit(leave_saga_command(command, id, runtime.wall_now()), std::move(done));
    });
  }

  aura::sim::Runtime runtime;
  aura::MemoryJournal memory{runtime};
  Journal journal{memory, runtime.executor()};
  Told told{};
};
