// The runner in virtual time, over a journal that survives it.
#include "support/saga_world.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <map>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Duration;
using aura::Error;
using aura::ErrorClass;
using aura::Result;
using aura::RetryPolicy;
using aura::RunOutcome;
using aura::saga_errc;
using aura::StepContext;
using aura::step;
using aura::version;

template <class T>
using Done = std::function<void(Result<T>)>;

constexpr int input = 7;

Error permanent() { return Error{"test", 1, ErrorClass::permanent, "no"}; }
Error transient() { return Error{"test", 2, ErrorClass::transient, "not now"}; }

RetryPolicy attempts(std::uint32_t max, Duration base = 10ms, Duration cap = 10ms) {
  RetryPolicy policy;
  policy.attempts_max = max;
  policy.base = base;
  policy.cap = cap;
  return policy;
}

void nothing(const int&) {}

/// Takes 10 ms of virtual time, and knows how many of its like run at once.
struct Slow {
  int* at_once;
  int* most;
  asio::awaitable<int> operator()(const int&, StepContext& context) const {
    *most = std::max(*most, ++*at_once);
    co_await context.wait(10ms, asio::use_awaitable);
    --*at_once;
    co_return 1;
  }
};

/// Fails a number of times with an error, then succeeds.
struct Failing {
  std::shared_ptr<int> left;
  Error error;
  Failing(int times, Error what) : left(std::make_shared<int>(times)), error(std::move(what)) {}
  Result<void> operator()(const int&) const {
    if (*left == 0) return {};
    --*left;
    return error;
  }
};

struct Hold {
  aura::FailureDecision choose(const aura::FailureContext&) const { return {.choice = aura::FailureChoice::hold}; }
};

}  // namespace

TEST_CASE("steps that do not wait for each other run side by side, whatever style their actions have") {
  SagaWorld world;
  int at_once = 0, most = 0;
  aura::Saga saga{"sum", version{1},
                  step<"coroutine">(Slow{&at_once, &most}).pure(),
                  step<"initiated">(aura::initiates<int>([&](const int& in, StepContext& context, auto done) {
                    context.wait(10ms, [in, done](boost::system::error_code) { done(in); });
                  })).pure(),
                  step<"plain">([](const int&) { return std::string("text"); }).pure(),
                  step<"sum">([](const int& in, const int& one, const int& seven, const std::string& text) {
                    return std::to_string(in + one + seven) + text;
                  }).after<"coroutine", "initiated", "plain">().pure()};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  const auto report = world.run(*runner, saga, "r", input).value();
  REQUIRE(report.outcome == RunOutcome::completed);
  REQUIRE(saga.result<"sum">(report).value() == "15text");
  REQUIRE(saga.result<"initiated">(report).value() == 7);
  REQUIRE(world.runtime.steady_now() - began == 10ms);
}

TEST_CASE("no more attempts of a run are in flight than its bound") {
  SagaWorld world;
  int at_once = 0, most = 0;
  const Slow slow{&at_once, &most};
  aura::Saga saga{"wide", version{1}, aura::SagaOptions{.parallel_max = 2}, step<"a">(slow).pure(),
                  step<"b">(slow).pure(), step<"c">(slow).pure(), step<"d">(slow).pure(), step<"e">(slow).pure()};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  REQUIRE(world.run(*runner, saga, "r", input).value().completed());
  REQUIRE(most == 2);
  REQUIRE(world.runtime.steady_now() - began == 30ms);
}

TEST_CASE("an attempt that does not answer in time is told to stop, given up and tried again, and its late answer is ignored") {
  SagaWorld world;
  std::vector<Done<int>> unanswered;
  bool told_to_stop = false;
  aura::Saga saga{"late", version{1},
                  step<"ask">(aura::initiates<int>([&](const int&, StepContext& context, Done<int> done) {
                    if (context.attempt() == 2) return done(2);
                    unanswered.push_back(done);
                    context.cancellation_slot().assign([&](asio::cancellation_type) { told_to_stop = true; });
                  })).pure().timeout(50ms).retry(attempts(2, 0ms))};
  auto runner = world.ready(saga);
  const auto report = world.run(*runner, saga, "r", input).value();
  REQUIRE(saga.result<"ask">(report).value() == 2);
  world.settle();
  REQUIRE(told_to_stop);
  unanswered.front()(1);
  world.settle();
  REQUIRE(world.told.count("r: act ask 1 timeout") == 1);
  REQUIRE(saga.result<"ask">(world.wait(*runner, "r").value()).value() == 2);
}

TEST_CASE("an attempt that outlives its timeout in the forward direction cannot pass for its own compensation") {
  SagaWorld world;
  std::vector<Done<void>> unanswered;
  int undone = 0;
  aura::Saga saga{"late", version{1},
                  step<"ask">(aura::initiates<void>([&](const int&, Done<void> done) { unanswered.push_back(done); }))
                      .undo(aura::initiates<void>([&](const int&, StepContext& context, auto done) {
                        ++undone;
                        context.wait(1s, [done](boost::system::error_code) { done({}); });
                      }))
                      .timeout(50ms).retry(RetryPolicy::none())};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.runtime.run_for(100ms);
  REQUIRE(undone == 1);
  unanswered.front()({});  // attempt 1 of the action, while attempt 1 of the compensation runs
  world.runtime.run_for(100ms);
  REQUIRE(world.state_of("r") == "compensating");
  REQUIRE(world.wait(*runner, "r").value().outcome == RunOutcome::compensated);
}

TEST_CASE("a step's deadline ends its retries, and a saga's deadline sends it back") {
  SagaWorld world;
  aura::Saga step_deadline{"s", version{1},
                           step<"a">([](const int&) -> Result<void> { return transient(); })
                               .undo(nothing).retry(attempts(0, 1s, 1s)).deadline(10s)};
  aura::Saga run_deadline{"r", version{1}, aura::SagaOptions{.deadline = 5s},
                          step<"a">(nothing).undo(nothing),
                          step<"b">([](const int&, StepContext& context) -> asio::awaitable<void> {
                            co_await context.wait(1h, asio::use_awaitable);
                          }).undo(nothing).after<"a">()};
  auto runner = world.ready(step_deadline);
  REQUIRE(runner->add(run_deadline).has_value());
  const auto began = world.runtime.steady_now();
  REQUIRE(world.run(*runner, step_deadline, "s", input).value().outcome == RunOutcome::compensated);
  REQUIRE(world.runtime.steady_now() - began <= 10s);
  const auto later = world.runtime.steady_now();
  const auto report = world.run(*runner, run_deadline, "r", input).value();
  REQUIRE(report.outcome == RunOutcome::compensated);
  REQUIRE(report.failure->is(saga_errc::run_deadline));
  REQUIRE(world.runtime.steady_now() - later == 5s);
}

TEST_CASE("a wall clock that is set back gives no attempt more than its step's deadline") {
  SagaWorld world;
  aura::Saga saga{"s", version{1},
                  step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                    if (context.attempt() == 1) throw aura::ErrorException(transient());
                    co_await context.wait(24h, asio::use_awaitable);
                  }).undo(nothing).retry(attempts(2, 1s, 1s)).deadline(10s)};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.settle();
  world.runtime.step_wall(-1h);
  REQUIRE(world.wait(*runner, "r").value().outcome == RunOutcome::compensated);
  REQUIRE(world.runtime.steady_now() - began <= 11s);
}

TEST_CASE("a retry waits in virtual time, and the journal's index says when it is due") {
  SagaWorld world;
  aura::Saga saga{"again", version{1}, step<"a">(Failing(2, transient())).pure().retry(attempts(3, 1h, 10h))};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.settle();
  const auto head = world.head("saga/r");
  REQUIRE(head->due.has_value());
  REQUIRE(*head->due - world.runtime.wall_now() <= 1h);
  REQUIRE(world.wait(*runner, "r").value().completed());
  REQUIRE_FALSE(world.head("saga/r")->due.has_value());
  const auto counts = runner->counts("again", version{1})->steps[0];
  REQUIRE(counts.attempts == 3);
  REQUIRE(counts.failures == 2);
  REQUIRE(counts.successes == 1);
}

namespace {

struct Gate {
  struct Permit {
    Gate* gate;
    void record(const aura::AttemptOutcome& outcome) const { gate->recorded.push_back(outcome.ok()); }
  };
  Result<Permit> try_acquire(aura::SteadyTime) {
    if (throws && closed-- > 0) throw 42;
    if (!throws && closed-- > 0)
      return Error{"gate", 1, ErrorClass::rejected, "closed"}.with_retry_after(5s);
    return Permit{this};
  }
  int closed = 0;
  bool throws = false;
  std::vector<bool> recorded{};
};

}  // namespace

TEST_CASE("a guard's rejection is waited for and burns no attempt; its permit hears how the attempt ended") {
  SagaWorld world;
  Gate gate{.closed = 2};
  gate.throws = GENERATE(false, true);
  aura::Saga saga{"guarded", version{1},
                  step<"a">(Failing(1, transient())).pure().guard_by(gate).retry(attempts(2, 0ms))};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  REQUIRE(world.run(*runner, saga, "r", input).value().completed());
  REQUIRE(world.runtime.steady_now() - began == (gate.throws ? 2s : 10s));
  REQUIRE(gate.recorded == std::vector<bool>{false, true});
  REQUIRE(world.told.count("r: rejected a") == 2);
  REQUIRE(runner->counts("guarded", version{1})->steps[0].guard_rejections == 2);
  REQUIRE(runner->counts("guarded", version{1})->steps[0].attempts == 2);
}

TEST_CASE("a guard holds a step back no longer than the step's deadline, and then it never began") {
  SagaWorld world;
  Gate gate{.closed = 1'000'000};
  int begun = 0, undone = 0;
  aura::Saga saga{"guarded", version{1},
                  step<"before">(nothing).undo([&](const int&) { ++undone; }),
                  step<"held">([&](const int&) { ++begun; })
                      .undo([&](const int&) { ++undone; })
                      .after<"before">()
                      .guard_by(gate)
                      .retry(RetryPolicy::forever())
                      .deadline(12s)};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  const auto report = world.run(*runner, saga, "r", input).value();
  REQUIRE(world.runtime.steady_now() - began == 12s);
  REQUIRE(report.outcome == RunOutcome::compensated);
  REQUIRE(std::string(report.failure->message()) == "step held was held back by its guard until its deadline: closed");
  REQUIRE(begun == 0);
  REQUIRE(undone == 1);
  REQUIRE(world.told.count("r: rejected held") == 4);  // at 0, 5, 10 and 12 seconds
}

TEST_CASE("an action that its guard holds back is not begun any more once the run goes back") {
  SagaWorld world;
  Gate gate{.closed = 1};
  int begun = 0;
  aura::Saga saga{"guarded", version{1},
                  step<"held">([&](const int&) { ++begun; }).undo(nothing).guard_by(gate),
                  step<"fails">([](const int&) -> Result<void> { return permanent(); }).undo(nothing)};
  auto runner = world.ready(saga);
  REQUIRE(world.run(*runner, saga, "r", input).value().outcome == RunOutcome::failed);
  REQUIRE(begun == 0);
}

TEST_CASE("an action that throws has failed, and the error says whose and what") {
  SagaWorld world;
  aura::Saga saga{"throws", version{1},
                  step<"a">([](const int& kind) {
                    if (kind == 0) throw std::runtime_error("boom");
                    if (kind == 1) throw 42;
                    throw aura::ErrorException(permanent());
                  }).undo(nothing).retry(RetryPolicy::none())};
  auto runner = world.ready(saga);
  const auto boom = world.run(*runner, saga, "0", 0).value();
  REQUIRE(boom.outcome == RunOutcome::compensated);  // nobody knows whether it took effect
  REQUIRE(std::string(boom.failure->message()).find("step a threw: boom") != std::string::npos);
  REQUIRE(boom.failure->error_class() == ErrorClass::transient);
  REQUIRE(world.run(*runner, saga, "1", 1).value().outcome == RunOutcome::compensated);
  const auto own = world.run(*runner, saga, "2", 2).value();
  REQUIRE(own.outcome == RunOutcome::failed);
  REQUIRE(*own.failure == permanent());
}

TEST_CASE("an initiated action that drops its handler has failed") {
  SagaWorld world;
  aura::Saga saga{"drops", version{1},
                  step<"a">(aura::initiates<int>([](const int&, Done<int>) {})).pure().retry(RetryPolicy::none())};
  auto runner = world.ready(saga);
  const auto report = world.run(*runner, saga, "r", input).value();
  REQUIRE(std::string(report.failure->message()) == "step a dropped its handler");
}

TEST_CASE("a cancelled run stops what is in flight and undoes what took effect; past its pivot it only goes forward") {
  SagaWorld world;
  std::vector<std::string> log;
  const auto undo = [&](const int&, StepContext& context) { log.push_back("undo " + std::string(context.step())); };
  const auto hour = [](const int&, StepContext& context) -> asio::awaitable<void> {
    co_await context.wait(1h, asio::use_awaitable);
  };
  aura::Saga saga{"c", version{1}, step<"a">(nothing).undo(undo), step<"b">(hour).undo(undo).after<"a">(),
                  step<"p">(nothing).after<"b">().pivot(), step<"late">(hour).after<"p">().retriable()};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "before", input).has_value());
  world.runtime.run_for(1min);
  const auto asked = world.runtime.steady_now();
  REQUIRE(world.cancel(*runner, "before").has_value());
  const auto report = world.wait(*runner, "before").value();
  REQUIRE(report.outcome == RunOutcome::compensated);
  REQUIRE(std::string(report.failure->message()) == "enough");
  REQUIRE(world.runtime.steady_now() == asked);
  REQUIRE(log == std::vector<std::string>{"undo b", "undo a"});  // b was stopped: it may have taken effect

  REQUIRE(world.start(*runner, saga, "after", input).has_value());
  world.runtime.run_for(90min);
  REQUIRE(world.cancel(*runner, "after").error().is(saga_errc::past_pivot));
  REQUIRE(world.wait(*runner, "after").value().completed());
  REQUIRE(world.cancel(*runner, "after").error().is(saga_errc::unknown_run));
  REQUIRE(world.cancel(*runner, "nobody").error().is(saga_errc::unknown_run));
}

TEST_CASE("a compensation that fails for good leaves the run stuck, with a dead letter in the same commit, until an operator resolves it") {
  SagaWorld world;
  Failing undo(1, permanent());
  aura::Saga saga{"stuck", version{1}, step<"a">([](const int&) { return 5; }).undo(undo).undo_retry(RetryPolicy::none()),
                  step<"b">([](const int&, const int&) -> Result<void> { return permanent(); }).undo(nothing).after<"a">()};
  std::size_t commits_with_letter = 0;
  world.journal.judge = [&](std::string_view, const aura::Batch* batch) {
    if (batch != nullptr && batch->appends.size() == 2 && batch->appends[1].stream == "dead/r/a/1" &&
        batch->appends[0].index->state == "stuck")
      ++commits_with_letter;
    return Fate::pass;
  };
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.runtime.run_for(1h);
  REQUIRE(world.state_of("r") == "stuck");
  REQUIRE(commits_with_letter == 1);
  const auto letter = world.head("dead/r/a/1");
  REQUIRE(letter->open);
  const auto record = world.ask<std::vector<aura::Record>>(
      [&](auto done) { world.memory.read("dead/r/a/1", 0, 1, done); });
  const auto read = aura::detail::decode_dead_letter(record->front()).value();
  REQUIRE(read.payload == "7");
  REQUIRE(read.redrive == "r a");
  REQUIRE(read.error == permanent());
  REQUIRE(read.attempts == 1);
  REQUIRE(world.told.count("r: stuck a") == 1);

  const auto how = GENERATE(0, 1, 2, 3);
  if (how == 0) REQUIRE(world.retry(*runner, "r", "a").has_value());
  if (how == 1) REQUIRE(world.skip(*runner, "r", "a").has_value());
  if (how == 2) REQUIRE(world.leave({aura::SagaVerb::retry, aura::RunId{"r"}, "a", "please"}, "1").has_value());
  if (how == 3) {  // after a restart
    runner.reset();
    world.settle();
    runner = world.ready(saga);
    REQUIRE(world.retry(*runner, "r", "a").has_value());
  }
  REQUIRE(world.supply(*runner, "r", "b", "5").has_value() == false);
  REQUIRE(world.wait(*runner, "r").value().outcome == RunOutcome::compensated);
  REQUIRE_FALSE(world.head("dead/r/a/1")->open);
  REQUIRE(world.head("dead/r/a/1")->state == (how == 1 ? "resolved" : "redriven"));
  if (how == 2) REQUIRE(world.head("saga-command/1")->state == "done");
}

TEST_CASE("a step that is held for an operator can be retried, skipped or given a result, or the run cancelled") {
  SagaWorld world;
  aura::SagaOptions hold{.policy = aura::AnyCompensationPolicy(Hold{})};
  Failing fails(1, permanent());
  aura::Saga saga{"held", version{1}, hold,
                  step<"a">([fails](const int& in) -> Result<int> {
                    if (auto made = fails(in); !made) return made.error();
                    return 5;
                  }).undo(nothing),
                  step<"b">([](const int&, const int& five) { return five + 1; }).after<"a">().pure()};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.runtime.run_for(1s);
  REQUIRE(world.state_of("r") == "stuck");
  REQUIRE(world.skip(*runner, "r", "a").error().is(saga_errc::result_needed));
  REQUIRE(world.skip(*runner, "r", "b").error().is(saga_errc::not_stuck));
  REQUIRE(world.skip(*runner, "r", "nobody").error().is(saga_errc::not_stuck));
  const int how = GENERATE(0, 1, 2);
  if (how == 0) REQUIRE(world.retry(*runner, "r", "a").has_value());
  if (how == 1) REQUIRE(world.supply(*runner, "r", "a", "41").has_value());
  if (how == 2) REQUIRE(world.cancel(*runner, "r").has_value());
  const auto report = world.wait(*runner, "r").value();
  if (how == 2) {
    REQUIRE(report.outcome == RunOutcome::failed);
  } else {
    REQUIRE(report.completed());
    REQUIRE(saga.result<"b">(report).value() == (how == 0 ? 6 : 42));
  }
  REQUIRE_FALSE(world.head("dead/r/a/1")->open);
}

TEST_CASE("a durable command is carried out once, and one that makes no sense is refused with a reason") {
  SagaWorld world;
  aura::Saga saga{"slow", version{1}, step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                    co_await context.wait(1h, asio::use_awaitable);
                  }).undo(nothing)};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  REQUIRE(world.leave({aura::SagaVerb::retry, aura::RunId{"r"}, "a", ""}, "not-stuck").has_value());
  REQUIRE(world.leave({aura::SagaVerb::skip, aura::RunId{"r"}, "zzz", ""}, "no-step").has_value());
  REQUIRE(world.leave({aura::SagaVerb::cancel, aura::RunId{"nobody"}, "", ""}, "no-run").has_value());
  for (int i = 0; i < 300; ++i)  // of runs that somebody else drives: more than a page of them
    REQUIRE(world.leave({aura::SagaVerb::cancel, aura::RunId{"zz"}, "", ""}, "a" + std::to_string(i)).has_value());
  world.runtime.run_for(3s);
  REQUIRE(world.head("saga-command/not-stuck")->state == "refused");
  REQUIRE(world.head("saga-command/no-step")->state == "refused");
  REQUIRE(world.head("saga-command/no-run")->state == "refused");
  REQUIRE(world.leave({aura::SagaVerb::cancel, aura::RunId{"r"}, "", "stop"}, "cancel").has_value());
  REQUIRE(world.wait(*runner, "r").value().outcome == RunOutcome::compensated);
  REQUIRE(world.head("saga-command/cancel")->state == "done");
  REQUIRE(world.leave({aura::SagaVerb::cancel, aura::RunId{"r"}, "", "again"}, "late").has_value());
  world.runtime.run_for(3s);
  REQUIRE(world.head("saga-command/late")->state == "refused");
}

TEST_CASE("a command works also where the dead letter was closed by somebody else, or found no room") {
  SagaWorld world;
  auto options = world.options();
  const bool no_room = GENERATE(false, true);
  if (no_room) options.dead_letters.open_max = 0;
  aura::Saga saga{"stuck", version{1}, step<"a">([](const int&) {}).undo(Failing(1, permanent())).undo_retry(RetryPolicy::none()),
                  step<"b">([](const int&) -> Result<void> { return permanent(); }).undo(nothing).after<"a">()};
  auto runner = world.ready(saga, options);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.runtime.run_for(1s);
  REQUIRE(world.state_of("r") == "stuck");
  REQUIRE(world.told.count("r: letter refused") == (no_room ? 1 : 0));
  if (!no_room) {
    aura::Batch batch;
    batch.appends.push_back(aura::close_dead_letter("r/a/1", 1, "purged", "too old", world.runtime.wall_now()));
    REQUIRE(world.ask<void>([&](auto done) { world.memory.commit(batch, done); }).has_value());
  }
  REQUIRE(world.leave({aura::SagaVerb::retry, aura::RunId{"r"}, "a", "again"}, "1").has_value());
  world.runtime.run_for(5s);
  REQUIRE(world.state_of("r") == "compensated");
  REQUIRE(world.head("saga-command/1")->state == "done");
}

TEST_CASE("a dead letter whose name is taken does not hold up the run") {
  SagaWorld world;
  aura::Saga saga{"stuck", version{1}, aura::SagaOptions{.policy = aura::AnyCompensationPolicy(Hold{})},
                  step<"a">(Failing(1, permanent())).undo(nothing)};
  aura::Batch batch;
  batch.appends.push_back(aura::write_dead_letter({.id = "r/a/1"}, {}));
  REQUIRE(world.ask<void>([&](auto done) { world.memory.commit(batch, done); }).has_value());
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.runtime.run_for(10s);
  REQUIRE(world.state_of("r") == "stuck");
  REQUIRE(world.told.count("r: letter refused") == 1);
  REQUIRE(world.retry(*runner, "r", "a").has_value());
  REQUIRE(world.wait(*runner, "r").value().completed());
}

TEST_CASE("starting a run twice starts it once; with another input or saga it is an error") {
  SagaWorld world;
  int acted = 0;
  aura::Saga saga{"s", version{1}, step<"a">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    ++acted;
                    co_await context.wait(1s, asio::use_awaitable);
                  }).pure()};
  aura::Saga other{"t", version{1}, step<"a">(nothing).pure()};
  auto runner = world.ready(saga);
  REQUIRE(runner->add(other.definition()).has_value());
  REQUIRE(world.start(*runner, saga, "r", 7).has_value());
  REQUIRE(world.start(*runner, saga, "r", 7).has_value());
  REQUIRE(world.start(*runner, saga, "r", 8).error().is(saga_errc::different_input));
  REQUIRE(world.start(*runner, other, "r", 7).error().is(saga_errc::different_input));
  REQUIRE(world.wait(*runner, "r").value().completed());
  REQUIRE(world.start(*runner, saga, "r", 7).has_value());  // ended, and known only to the journal
  REQUIRE(world.start(*runner, saga, "r", 8).error().is(saga_errc::different_input));
  REQUIRE(world.start(*runner, other, "r", 7).error().is(saga_errc::different_input));
  REQUIRE(world.run(*runner, saga, "r", 7).value().completed());
  REQUIRE(acted == 1);
}

TEST_CASE("a second start is not answered before the first one is durable") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure()};
  auto runner = world.ready(saga);
  bool disk_works = false;
  world.journal.judge = [&](std::string_view operation, const aura::Batch*) {
    return operation == "commit" && !disk_works ? Fate::refuse : Fate::pass;
  };
  int answered = 0;
  const auto count = [&](Result<void> outcome) { answered += outcome.has_value() ? 1 : 100; };
  runner->start(saga, aura::RunId{"r"}, 7, count);
  runner->start(saga, aura::RunId{"r"}, 7, count);
  world.runtime.run_for(30s);
  REQUIRE(answered == 0);
  disk_works = true;
  world.runtime.run_for(30s);
  REQUIRE(answered == 2);
}

TEST_CASE("a start that the journal will never take is told so") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure()};
  auto runner = world.ready(saga);
  const auto refused = world.start(*runner, saga, "r", input, {.attributes = {{"tenant", "a"}, {"tenant", "b"}}});
  REQUIRE(refused.error().is(aura::journal_errc::bad_batch));
  REQUIRE(runner->open_runs() == 0);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
}

TEST_CASE("who waits hears the end while it runs, after it, and after a restart") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">([](const int& in) { return in * 2; }).pure()};
  auto runner = world.ready(saga);
  REQUIRE(world.run(*runner, saga, "r", 4).value().completed());
  REQUIRE(saga.result<"a">(world.wait(*runner, "r").value()).value() == 8);
  REQUIRE(world.wait(*runner, "nobody").error().is(saga_errc::unknown_run));
  runner.reset();
  world.settle();
  runner = world.ready(saga);
  REQUIRE(saga.result<"a">(world.wait(*runner, "r").value()).value() == 8);
  REQUIRE(world.start(*runner, saga, "r", 4).has_value());
}

TEST_CASE("nothing is started before recover, and a start that cannot be is refused with its reason") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure()};
  aura::Saga changed{"s", version{1}, step<"b">(nothing).pure()};
  auto runner = world.runner();
  REQUIRE(runner->add(saga.definition()).has_value());
  REQUIRE(runner->add(saga.definition()).has_value());
  REQUIRE(runner->add(changed).error().is(saga_errc::duplicate_definition));
  REQUIRE(world.start(*runner, saga, "r", input).error().is(saga_errc::not_recovered));
  world.recover(*runner);
  REQUIRE(world.start(*runner, changed, "r", input).error().is(saga_errc::definition_missing));
  REQUIRE_THROWS(world.runner(aura::SagaRunnerOptions{}));
}

TEST_CASE("a run whose definition is missing or has changed is held, visibly, and the others go on") {
  SagaWorld world;
  aura::SagaOptions hold{.policy = aura::AnyCompensationPolicy(Hold{})};
  aura::Saga saga{"s", version{1}, hold, step<"a">([](const int&) -> Result<void> { return permanent(); }).undo(nothing)};
  aura::Saga changed{"s", version{1}, hold, step<"a">(nothing).undo(nothing), step<"b">(nothing).pure()};
  aura::Saga other{"o", version{1}, step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                     co_await context.wait(1min, asio::use_awaitable);
                   }).pure()};
  auto runner = world.ready(saga);
  REQUIRE(runner->add(other.definition()).has_value());
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  REQUIRE(world.start(*runner, other, "o", input).has_value());
  world.runtime.run_for(1s);
  REQUIRE(world.state_of("r") == "stuck");
  runner.reset();
  world.settle();
  const bool missing = GENERATE(true, false);
  runner = world.runner();
  REQUIRE(runner->add(other.definition()).has_value());
  if (!missing) REQUIRE(runner->add(changed).has_value());
  const auto found = world.recover(*runner);
  REQUIRE(found.resumed == 1);
  REQUIRE(found.held == 1);
  world.settle();
  REQUIRE(world.state_of("r") == "held");
  REQUIRE(world.told.count("r: held") == 1);
  const auto why = world.wait(*runner, "r").error();
  REQUIRE(why.is(missing ? saga_errc::definition_missing : saga_errc::definition_differs));
  REQUIRE(std::string(why.message()).find("run r was begun by s v1") != std::string::npos);
  REQUIRE(world.wait(*runner, "o").value().completed());
  runner.reset();
  world.settle();
  runner = world.ready(saga);
  world.settle();
  REQUIRE(world.state_of("r") == "stuck");  // the index calls it held no more
  REQUIRE(world.skip(*runner, "r", "a").has_value());
  REQUIRE(world.wait(*runner, "r").value().completed());
}

TEST_CASE("a run finishes on the version that began it, while others run on a newer one") {
  SagaWorld world;
  const auto hour = [](const int&, StepContext& context) -> asio::awaitable<int> {
    co_await context.wait(1h, asio::use_awaitable);
    co_return 1;
  };
  aura::Saga old{"s", version{1}, step<"a">(hour).pure()};
  aura::Saga fresh{"s", version{2}, step<"a">(hour).pure(), step<"b">([](const int&) { return 2; }).pure()};
  auto runner = world.ready(old);
  REQUIRE(world.start(*runner, old, "old", input).has_value());
  runner.reset();
  world.settle();
  runner = world.runner();
  REQUIRE(runner->add(old).has_value());
  REQUIRE(runner->add(fresh).has_value());
  REQUIRE(world.recover(*runner).resumed == 1);
  REQUIRE(world.start(*runner, fresh, "fresh", input).has_value());
  REQUIRE(world.wait(*runner, "old").value().results.size() == 1);
  REQUIRE(world.wait(*runner, "fresh").value().results.size() == 2);
  REQUIRE(runner->counts("s", version{1})->completed == 1);
  REQUIRE(runner->counts("s", version{2})->completed == 1);
  REQUIRE_FALSE(runner->counts("s", version{3}).has_value());
}

TEST_CASE("a drained runner finishes what answers in time, begins nothing, and hands back the rest at once") {
  SagaWorld world;
  int quick = 0, slow = 0, later = 0, retried = 0;
  aura::Saga saga{"s", version{1},
                  step<"quick">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    ++quick;
                    co_await context.wait(1s, asio::use_awaitable);
                  }).pure(),
                  step<"slow">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    ++slow;
                    co_await context.wait(1h, asio::use_awaitable);
                  }).pure(),
                  step<"retried">([&](const int&) -> Result<void> {
                    if (++retried == 1) return transient();
                    return {};
                  }).pure().retry(attempts(0, 2s, 2s)),
                  step<"later">([&](const int&) { ++later; }).pure().after<"quick">()};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input).has_value());
  world.settle();
  REQUIRE(world.drain(*runner, 10s).has_value());
  REQUIRE(quick == 1);
  REQUIRE(later == 0);
  REQUIRE(retried == 1);
  REQUIRE(world.start(*runner, saga, "q", input).error().is(saga_errc::draining));
  auto other = world.ready(saga, world.options("bob"));  // no lease stands in its way
  REQUIRE(other->open_runs() == 1);
  REQUIRE(world.wait(*other, "r").value().completed());
  REQUIRE(quick == 1);
  REQUIRE(slow == 2);
  REQUIRE(later == 1);
  REQUIRE(retried == 2);
  REQUIRE(world.drain(*runner, 1s).has_value());
}

TEST_CASE("a runner with nothing in flight drains at once") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure()};
  auto runner = world.ready(saga);
  const auto began = world.runtime.steady_now();
  REQUIRE(world.drain(*runner, 1h).has_value());
  REQUIRE(world.runtime.steady_now() == began);
}

TEST_CASE("destroying a runner loses nothing: who waits is told, and the step that ran is run again under the same key") {
  SagaWorld world;
  std::vector<std::string> keys;
  std::vector<std::uint32_t> interruptions;
  aura::Saga saga{"s", version{1}, step<"a">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    keys.push_back(context.idempotency_key());
                    interruptions.push_back(context.interruptions());
                    co_await context.wait(1s, asio::use_awaitable);
                  }).pure()};
  auto runner = world.ready(saga);
  std::optional<Error> told;
  runner->run(saga, aura::RunId{"r"}, input, SagaWorld::Answer<aura::SagaReport>([&](auto report) { told = report.error(); }));
  world.runtime.run_for(500ms);
  runner.reset();
  world.runtime.run_for(10s);
  REQUIRE(told->is(saga_errc::draining));
  runner = world.ready(saga);
  REQUIRE(world.wait(*runner, "r").value().completed());
  REQUIRE(keys == std::vector<std::string>{"r/a", "r/a"});
  REQUIRE(interruptions == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("a runner whose lease ran out loses its runs to another, and what it still records is refused") {
  SagaWorld world;
  std::vector<std::uint64_t> tokens;
  aura::Saga saga{"s", version{1}, step<"a">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    tokens.push_back(static_cast<std::uint64_t>(context.fencing_token()));
                    co_await context.wait(1min, asio::use_awaitable);
                  }).pure()};
  auto alice = world.ready(saga);
  std::optional<Error> told;
  alice->run(saga, aura::RunId{"r"}, input, SagaWorld::Answer<aura::SagaReport>([&](auto report) { told = report.error(); }));
  world.settle();
  auto bob = world.ready(saga, world.options("bob"));
  REQUIRE(world.recover(*bob).elsewhere == 1);
  world.journal.judge = [](std::string_view operation, const aura::Batch*) {  // alice is cut off from renewing
    return operation == "renew_lease" ? Fate::refuse : Fate::pass;
  };
  world.runtime.run_for(31s);
  world.journal.judge = nullptr;
  REQUIRE(world.recover(*bob).resumed == 1);
  world.runtime.run_for(40s);
  REQUIRE(told->is(saga_errc::lost_run));
  REQUIRE(world.told.count("r: lost") == 1);
  REQUIRE(alice->open_runs() == 0);
  REQUIRE(world.wait(*bob, "r").value().completed());
  REQUIRE(tokens.size() == 2);
  REQUIRE(tokens[0] < tokens[1]);
  REQUIRE(world.wait(*alice, "r").value().completed());  // from the journal
}

TEST_CASE("taking a live runner's name takes its lease, and it lets go of its runs") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                    co_await context.wait(1h, asio::use_awaitable);
                  }).pure()};
  auto first = world.ready(saga);
  REQUIRE(world.start(*first, saga, "r", input).has_value());
  auto second = world.ready(saga);
  REQUIRE(second->open_runs() == 1);
  world.runtime.run_for(1min);
  REQUIRE(first->open_runs() == 0);
  REQUIRE(world.start(*first, saga, "q", input).error().is(saga_errc::not_recovered));
  REQUIRE(world.wait(*second, "r").value().completed());
}

TEST_CASE("while the disk fails nothing is lost and nothing is done twice, whether requests or answers get lost") {
  SagaWorld world;
  std::map<std::string, int> acted;
  const auto act = [&](const int&, StepContext& context) { ++acted[context.idempotency_key()]; };
  aura::Saga saga{"s", version{1}, step<"a">(act).undo(act), step<"b">(act).undo(act).after<"a">(),
                  step<"p">(act).after<"b">().pivot(), step<"r">(act).after<"p">().retriable()};
  auto runner = world.ready(saga);
  const Fate fate = GENERATE(Fate::refuse, Fate::lose_answer);
  int troubles = 0;
  world.journal.judge = [&](std::string_view operation, const aura::Batch*) {
    return operation == "commit" && ++troubles % 3 != 0 ? fate : Fate::pass;
  };
  for (int i = 0; i < 5; ++i) {
    const auto report = world.run(*runner, saga, "r" + std::to_string(i), input);
    REQUIRE(report.value().completed());
  }
  REQUIRE(acted.size() == 20);
  for (const auto& [key, times] : acted) REQUIRE(times == 1);
  REQUIRE(world.told.count("r0: delayed") >= 1);
  REQUIRE(world.told.count("r0: lost") == 0);
}

TEST_CASE("the bounds are kept: open runs, requests of one run") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                    co_await context.wait(1h, asio::use_awaitable);
                  }).pure()};
  auto options = world.options();
  options.open_runs_max = 2;
  options.run_inbox_max = 4;
  auto runner = world.ready(saga, options);
  REQUIRE(world.start(*runner, saga, "1", input).has_value());
  REQUIRE(world.start(*runner, saga, "2", input).has_value());
  REQUIRE(world.start(*runner, saga, "3", input).error().is(saga_errc::too_many_runs));
  REQUIRE(world.start(*runner, saga, "1", input).has_value());
  world.journal.judge = [](std::string_view operation, const aura::Batch*) {
    return operation == "commit" ? Fate::refuse : Fate::pass;
  };
  int refused = 0, waiting = 0;
  for (int i = 0; i < 20; ++i) {
    ++waiting;
    runner->cancel(aura::RunId{"1"}, "enough", [&](Result<void> outcome) {
      --waiting;
      if (!outcome && outcome.error().is(saga_errc::too_many_runs)) ++refused;
    });
  }
  world.runtime.run_for(1s);
  REQUIRE(refused == 15);  // one is under way, four wait
  REQUIRE(waiting == 5);
  refused = 0;
  for (int i = 0; i < 20; ++i)
    runner->wait(aura::RunId{"2"}, [&](Result<aura::SagaReport> outcome) {
      if (!outcome && outcome.error().is(saga_errc::too_many_runs)) ++refused;
    });
  world.runtime.run_for(1s);
  REQUIRE(refused == 16);
  world.journal.judge = nullptr;
  world.runtime.run_for(2h);
  REQUIRE(waiting == 0);
  REQUIRE(runner->open_runs() == 0);
}

TEST_CASE("recovery takes up every open run, also where more are open than may be started now") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">([](const int&, StepContext& context) -> asio::awaitable<void> {
                    co_await context.wait(1h, asio::use_awaitable);
                  }).pure()};
  auto runner = world.ready(saga);
  for (int i = 0; i < 50; ++i) REQUIRE(world.start(*runner, saga, std::to_string(i), input).has_value());
  runner.reset();
  world.settle();
  auto options = world.options();
  options.open_runs_max = 10;
  options.recover_concurrency = 3;
  std::size_t reading = 0, most = 0;
  world.journal.judge = [&](std::string_view operation, const aura::Batch*) {
    if (operation == "read") most = std::max(most, ++reading);
    return Fate::pass;
  };
  runner = world.runner(options);
  REQUIRE(runner->add(saga.definition()).has_value());
  REQUIRE(world.recover(*runner).resumed == 50);
  REQUIRE(runner->open_runs() == 50);
  world.runtime.run_for(2h);
  REQUIRE(runner->open_runs() == 0);
}

TEST_CASE("ended runs are kept as long and as many as was asked") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure()};
  auto options = world.options();
  options.retention = {.kept_for = 1h, .kept_max = 3, .batch = 2, .interval = 10min};
  auto runner = world.ready(saga, options);
  for (int i = 0; i < 9; ++i) REQUIRE(world.run(*runner, saga, "r" + std::to_string(i), input).has_value());
  const auto kept = [&] {
    return world.ask<aura::StreamPage>([&](auto done) { runner->list({.open = false}, std::move(done)); }).value().streams.size();
  };
  REQUIRE(kept() == 9);
  world.runtime.run_for(11min);
  REQUIRE(kept() == 3);
  world.runtime.run_for(61min);
  REQUIRE(kept() == 0);
}

TEST_CASE("attributes find a run, and its trace goes with every record and attempt, also after a restart") {
  SagaWorld world;
  const aura::TraceContext trace{.trace_id = {1}, .parent_id = {2}, .flags = 1};
  std::vector<aura::TraceContext> seen;
  aura::Saga saga{"s", version{1}, step<"a">([&](const int&, StepContext& context) -> asio::awaitable<void> {
                    seen.push_back(context.trace());
                    co_await context.wait(1s, asio::use_awaitable);
                  }).pure()};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", input, {.attributes = {{"tenant", "acme"}}, .trace = trace}).has_value());
  REQUIRE(world.start(*runner, saga, "q", input, {.attributes = {{"tenant", "else"}}}).has_value());
  runner.reset();
  world.settle();
  runner = world.ready(saga);
  const auto found = world.ask<aura::StreamPage>([&](auto done) {
    runner->list({.state = "running", .attributes = {{"saga", "s"}, {"tenant", "acme"}}}, std::move(done));
  });
  REQUIRE(found.value().streams.size() == 1);
  REQUIRE(found.value().streams[0].stream == "saga/r");
  REQUIRE(world.wait(*runner, "r").value().completed());
  REQUIRE(std::count(seen.begin(), seen.end(), trace) == 2);
  for (const auto& record : world.history("r")) REQUIRE(record.trace == trace);
}

TEST_CASE("once the retry budget is spent, retries are put off but not dropped, and only retries spend it") {
  SagaWorld world;
  auto options = world.options();
  options.retry_budget = aura::RetryBudget::Options{.ratio = 0, .tokens_max = 1};
  aura::Saga fails{"f", version{1}, step<"a">([](const int&) -> Result<void> { return permanent(); }).pure()};
  aura::Saga saga{"s", version{1}, step<"a">(Failing(2, transient())).pure().retry(attempts(3, 0ms, 1h))};
  auto runner = world.ready(fails, options);
  REQUIRE(runner->add(saga.definition()).has_value());
  for (int i = 0; i < 3; ++i) REQUIRE(world.run(*runner, fails, "f" + std::to_string(i), input).has_value());
  const auto began = world.runtime.steady_now();
  REQUIRE(world.run(*runner, saga, "r", input).value().completed());
  REQUIRE(world.runtime.steady_now() - began == 1h);  // the first retry had a token, the second waited the cap
}

TEST_CASE("a retry that is put off still comes before its step's deadline") {
  SagaWorld world;
  auto options = world.options();
  options.retry_budget = aura::RetryBudget::Options{.ratio = 0, .tokens_max = 0};
  aura::Saga saga{"s", version{1},
                  step<"a">(Failing(1, transient())).pure().retry(attempts(3, 0ms, 1h)).deadline(10min)};
  auto runner = world.ready(saga, options);
  const auto began = world.runtime.steady_now();
  REQUIRE(world.run(*runner, saga, "r", input).value().completed());
  REQUIRE(world.runtime.steady_now() - began < 10min);
  REQUIRE(world.runtime.steady_now() - began > 5min);
}

TEST_CASE("one sync for each step that is done: the record that ends one step begins the next") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">(nothing).pure(), step<"b">(nothing).pure().after<"a">(),
                  step<"c">(nothing).pure().after<"b">()};
  auto runner = world.ready(saga);
  REQUIRE(world.run(*runner, saga, "r", input).value().completed());
  REQUIRE(world.history("r").size() == 4);
}

TEST_CASE("no action begins before the commit that records its start has been answered") {
  SagaWorld world;
  bool under_way = false, begun_early = false;
  const auto act = [&](const int&) { begun_early = begun_early || under_way; };
  aura::Saga saga{"s", version{1}, step<"a">(act).undo(act), step<"b">(act).undo(act).after<"a">(),
                  step<"c">([](const int&) -> Result<void> { return permanent(); }).undo(act).after<"b">()};
  auto runner = world.ready(saga);
  world.journal.judge = [&](std::string_view operation, const aura::Batch*) {
    if (operation != "commit") return Fate::pass;
    under_way = !under_way;  // refused the first time, so that a while passes before the second
    return under_way ? Fate::refuse : Fate::pass;
  };
  REQUIRE(world.run(*runner, saga, "r", input).value().outcome == RunOutcome::compensated);
  REQUIRE_FALSE(begun_early);
}

TEST_CASE("an effect of a step on a journal without transactions fails the step, and the saga goes back") {
  SagaWorld world;
  aura::Saga saga{"s", version{1}, step<"a">([](const int&) {
                    return aura::WithEffect<int>{1, [](aura::Transaction&) -> Result<void> { return {}; }};
                  }).undo(nothing)};
  auto runner = world.ready(saga);
  const auto report = world.run(*runner, saga, "r", input).value();
  REQUIRE(report.outcome == RunOutcome::failed);
  REQUIRE(report.failure->is(aura::journal_errc::effect_unsupported));
}

TEST_CASE("the same seed runs the same sagas in the same order, bit for bit") {
  const auto digest = [](std::uint64_t seed) {
    SagaWorld world(seed);
    int at_once = 0, most = 0;
    const Slow slow{&at_once, &most};
    aura::Saga saga{"s", version{1}, step<"a">(slow).pure(), step<"b">(slow).pure(),
                    step<"c">(Failing(2, transient())).pure()};
    auto runner = world.ready(saga);
    for (int i = 0; i < 20; ++i) REQUIRE(world.start(*runner, saga, std::to_string(i), input).has_value());
    world.runtime.run_for(1min);
    REQUIRE(runner->open_runs() == 0);
    return world.runtime.digest();
  };
  REQUIRE(digest(3) == digest(3));
  REQUIRE(digest(3) != digest(4));
}
