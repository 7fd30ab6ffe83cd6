// The pure engine: random sagas under random scripts, judged by an oracle that only reads their histories.
#include "support/catch.hpp"
#include "support/random_saga.hpp"
#include "support/saga_oracle.hpp"
#include "support/seeds.hpp"

#include <aura/durable/saga_engine.hpp>
#include <aura/durable/saga_record.hpp>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Error;
using aura::ErrorClass;
using aura::Random;
using aura::Record;
using aura::Result;
using aura::SagaDefinition;
using aura::SagaInput;
using aura::SagaState;
using aura::StepSet;
using aura::WallTime;

std::set<std::size_t> steps_of(StepSet set) {
  std::set<std::size_t> out;
  for (std::size_t i = 0; i < 64; ++i)
    if (set & aura::step_bit(i)) out.insert(i);
  return out;
}

std::string text_of(const Error* error) { return error ? to_string(*error) : "-"; }

/// Everything that a state holds, as text: two states are the same where this is.
std::string dump(const SagaState& state) {
  std::ostringstream out;
  const auto& p = state.progress;
  out << static_cast<int>(p.phase) << ' ' << static_cast<int>(p.outcome) << ' ' << p.done << ' ' << p.skipped << ' '
      << p.unknown << ' ' << p.in_flight << ' ' << p.backing_off << ' ' << p.stuck << ' ' << p.undone << '\n'
      << state.input << ' ' << state.started_at.time_since_epoch().count() << ' '
      << state.deadline.time_since_epoch().count() << ' ' << text_of(state.failure.get()) << '\n';
  for (const auto& step : state.steps)
    out << step.result << ' ' << step.first_at.time_since_epoch().count() << ' '
        << step.wake_at.time_since_epoch().count() << ' ' << step.attempt << ' ' << step.attempts_spent << ' '
        << step.stuck_count << ' ' << step.interruptions << ' ' << text_of(step.error.get()) << ' '
        << step.failed_first.time_since_epoch().count() << '\n';
  return out.str();
}

void replay(SagaState& state, const Record& record, const SagaDefinition& saga) {
  Result<aura::SagaEvents> events = decode_saga_record(record);
  REQUIRE(events.has_value());
  for (aura::SagaEvent& event : *events) evolve(state, std::move(event), record.at, saga);
}

Error some_error(Random& dice) {
  const auto error_class = static_cast<ErrorClass>(dice.below(5));
  Error error{"test", static_cast<std::int32_t>(dice.below(100)) - 50, error_class, "trouble"};
  if (dice.chance(0.1)) error = std::move(error).with_retry_after(std::chrono::milliseconds(dice.below(3000)));
  return error;
}

/// A policy that asks nobody: the same failure always gets the same answer, so decisions can be repeated.
struct FixedPolicy {
  std::uint64_t seed;
  aura::FailureDecision choose(const aura::FailureContext& failure) const {
    Random dice(seed ^ failure.attempts ^ aura::fnv1a64(failure.step));
    const std::uint64_t roll = dice.below(10);
    if (roll < 2) return {.choice = aura::FailureChoice::hold};
    if (roll < 4 && failure.attempts < 6) return {.choice = aura::FailureChoice::retry, .delay = 70ms};
    return {};
  }
};

/// One run of one saga: keeps what a shell would have to keep, and checks each decision as it is made.
struct Rig {
  const SagaDefinition& saga;
  Random& dice;
  SagaOracle oracle;
  SagaState state{};
  std::vector<Record> records{};
  std::vector<std::string> states{};  ///< after each record
  std::map<std::size_t, std::uint32_t> attempts{};  ///< in flight, as a shell would know
  std::set<std::size_t> waits{};
  std::set<std::size_t> letters{};
  WallTime now = WallTime(1'000'000s);
  std::string script{};

  Rig(const SagaDefinition& definition, Random& random) : saga(definition), dice(random), oracle(definition) {}

  /// True where the input was taken.
  bool feed(SagaInput input, std::string what) {
    script += what + "; ";
    const std::uint64_t roll = dice();
    const bool spent = dice.chance(0.05), resumed = std::holds_alternative<aura::SagaResumed>(input);
    if (const auto* woke = std::get_if<aura::SagaWoke>(&input)) waits.erase(woke->step);
    if (const auto* ended = std::get_if<aura::SagaAttemptEnded>(&input))
      if (attempts.contains(ended->step) && attempts[ended->step] == ended->attempt) attempts.erase(ended->step);
    const std::string before = dump(state);
    Result<aura::SagaDecision> decision = decide_once(state, input, roll, spent);
    REQUIRE(dump(state) == before);
    check_replayed_decision(decision, input, roll, spent);
    if (!decision) return false;
    if (decision->events.empty() && !resumed) REQUIRE(decision->actions == aura::SagaActions{});
    record(*decision);
    carry_out(decision->actions);
    return true;
  }

  Result<aura::SagaDecision> decide_once(const SagaState& from, SagaInput input, std::uint64_t roll, bool spent) {
    Random random(roll);
    return decide(saga, from, std::move(input),
                  {.run = "run", .now = now, .random = random, .retry_budget_spent = spent});
  }

  /// What was rebuilt from the records decides the same.
  void check_replayed_decision(const Result<aura::SagaDecision>& made, const SagaInput& input, std::uint64_t roll,
                               bool spent) {
    SagaState rebuilt;
    for (const Record& record : records) replay(rebuilt, record, saga);
    REQUIRE(dump(rebuilt) == dump(state));
    const Result<aura::SagaDecision> again = decide_once(rebuilt, input, roll, spent);
    REQUIRE(again.has_value() == made.has_value());
    if (!made) return;
    REQUIRE(again->events == made->events);
    REQUIRE(again->actions == made->actions);
  }

  void record(aura::SagaDecision& decision) {
    if (decision.events.empty()) return;
    std::set<std::size_t> newly_stuck;
    const std::set<std::size_t> stuck_before = oracle.stuck();
    for (const aura::SagaEvent& event : decision.events) {
      oracle.read(event);
      if (event.type == aura::SagaEventType::attempt_failed && event.verdict == aura::FailureVerdict::stuck)
        newly_stuck.insert(event.step);
      if (event.verdict == aura::FailureVerdict::retry) REQUIRE(event.wake_at >= now);
    }
    INFO(script);
    REQUIRE(oracle.fault() == "");
    REQUIRE(steps_of(decision.actions.dead_letter) == newly_stuck);
    std::set<std::size_t> freed;
    for (const std::size_t step : stuck_before)
      if (!oracle.stuck().contains(step)) freed.insert(step);
    REQUIRE(steps_of(decision.actions.close_letter) == freed);
    REQUIRE(decision.actions.ended == oracle.ended());
    const aura::TraceContext trace{.trace_id = {1, 2}, .parent_id = {3}, .flags = 1};
    const Record made = encode_saga_record(decision.events, now, trace);
    Result<aura::SagaEvents> decoded = decode_saga_record(made);
    REQUIRE(decoded.has_value());
    REQUIRE(*decoded == decision.events);
    records.push_back(made);
    replay(state, made, saga);
    states.push_back(dump(state));
  }

  void carry_out(const aura::SagaActions& actions) {
    for (const std::size_t step : steps_of(actions.attempt)) {
      REQUIRE_FALSE(attempts.contains(step));
      attempts[step] = state.steps[step].attempt;
      waits.erase(step);
    }
    for (const std::size_t step : steps_of(actions.wait)) waits.insert(step);
    for (const std::size_t step : steps_of(actions.cancel)) REQUIRE(attempts.contains(step));
    INFO(script);
    std::set<std::size_t> flying;
    for (const auto& [step, attempt] : attempts) flying.insert(step);
    REQUIRE(flying == oracle.running());
    REQUIRE(flying == steps_of(outstanding(state).attempt));
    REQUIRE(steps_of(outstanding(state).wait) == oracle.waiting());
    REQUIRE(steps_of(state.progress.stuck) == oracle.stuck());
    if (oracle.settling()) return;  // a wake that comes while attempts settle is asked for again afterwards
    for (const std::size_t step : oracle.waiting()) REQUIRE(waits.contains(step));
  }

  /// The process dies: what it had under way is gone, and whoever resumes hears of it again.
  void crash() {
    attempts.clear();
    waits.clear();
    feed(aura::SagaResumed{}, "resumed");
  }

  void begin() {
    aura::SagaBirth birth{.saga = saga.name, .version = 1, .fingerprint = saga.fingerprint};
    if (dice.chance(0.5)) birth.deadline = now + 5s;
    for (const auto& step : saga.steps) birth.steps.push_back(step.name);
    feed(aura::SagaBegin{birth, "input"}, "begin");
  }

  std::size_t any(const std::set<std::size_t>& from) {
    auto it = from.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(dice.below(from.size())));
    return *it;
  }
  std::set<std::size_t> flying() const { return oracle.running(); }

  void end_attempt(std::size_t step, bool well) {
    const auto index = static_cast<std::uint8_t>(step);
    if (well) {
      feed(aura::SagaAttemptEnded{index, attempts.at(step), "result " + std::to_string(step)},
           "ok " + std::to_string(step));
    } else {
      const Error error = some_error(dice);
      feed(aura::SagaAttemptEnded{index, attempts.at(step), error},
           "fail " + std::to_string(step) + " " + std::string(to_string(error.error_class())));
    }
  }

  void wake(std::size_t step) {
    now = std::max(now, state.steps[step].wake_at);
    feed(aura::SagaWoke{static_cast<std::uint8_t>(step)}, "woke " + std::to_string(step));
  }

  void resolve(std::size_t step, aura::OperatorVerb verb) {
    const bool stuck = oracle.stuck().contains(step);
    const bool taken = feed(aura::SagaResolve{verb, static_cast<std::uint8_t>(step), "because"},
                            "resolve " + std::to_string(step) + " by " + std::to_string(static_cast<int>(verb)));
    if (!stuck) REQUIRE_FALSE(taken);
    if (stuck && verb == aura::OperatorVerb::retry) REQUIRE(taken);
  }

  /// Anything that may happen, and some things that may not.
  void disturb() {
    const std::size_t step = dice.below(saga.steps.size());
    const std::uint64_t roll = dice.below(100);
    if (roll < 3) feed(aura::SagaCancel{Error{"test", 1, ErrorClass::cancelled, "no more"}}, "cancel");
    else if (roll < 5) feed(aura::SagaExpired{}, "expired");
    else if (roll < 10) crash();
    else if (roll < 18) resolve(step, static_cast<aura::OperatorVerb>(dice.below(3)));
    else if (roll < 22) feed(aura::SagaAttemptEnded{static_cast<std::uint8_t>(dice.below(64)), 77, "stale"}, "stale");
    else if (roll < 25) feed(aura::SagaWoke{static_cast<std::uint8_t>(dice.below(64))}, "woke for nothing");
    else if (roll < 40 && !waits.empty()) wake(any(waits));
    else if (!attempts.empty()) end_attempt(any(flying()), dice.chance(0.6));
    else if (!waits.empty()) wake(any(waits));
    now += std::chrono::milliseconds(dice.below(100));
  }

  /// From here nothing fails any more, and an operator looks after what is stuck.
  void go_well() {
    for (int i = 0; i < 1000 && !oracle.ended(); ++i) {
      INFO(script);
      if (!attempts.empty()) {
        end_attempt(any(flying()), true);
      } else if (!waits.empty()) {
        wake(any(waits));
      } else {
        REQUIRE_FALSE(oracle.stuck().empty());  // else it waits for something that will never come
        resolve(any(oracle.stuck()), aura::OperatorVerb::retry);
      }
    }
    INFO(script);
    REQUIRE(oracle.ended());
    REQUIRE(state.ended());
  }

  /// Each prefix of the records is a state that was there, and what follows from it is what was under way.
  void check_prefixes() {
    SagaState rebuilt;
    for (std::size_t i = 0; i < records.size(); ++i) {
      replay(rebuilt, records[i], saga);
      REQUIRE(dump(rebuilt) == states[i]);
    }
  }
};

SagaDefinition saga_of(Random& dice) {
  SagaDefinition saga = random_saga::make(dice);
  if (dice.chance(0.6)) saga.policy = aura::AnyCompensationPolicy(FixedPolicy{dice()});
  return saga;
}

}  // namespace

TEST_CASE("random sagas under random scripts keep every promise, and end once nothing fails any more") {
  for_each_seed("durable", "random sagas under random scripts*", 3000, [](std::uint64_t seed) {
    Random dice(seed);
    const SagaDefinition saga = saga_of(dice);
    INFO(random_saga::describe(saga));
    Rig rig(saga, dice);
    rig.begin();
    const std::uint64_t disturbances = dice.below(60);
    for (std::uint64_t i = 0; i < disturbances && !rig.oracle.ended(); ++i) rig.disturb();
    rig.go_well();
    rig.check_prefixes();
    REQUIRE_FALSE(rig.feed(aura::SagaCancel{Error{}}, "cancel after the end"));
    REQUIRE(rig.feed(aura::SagaResumed{}, "resumed after the end"));
  });
}

TEST_CASE("a drained run begins no attempt, and whoever resumes it finds everything still to do") {
  for_each_seed("durable", "a drained run begins no attempt*", 500, [](std::uint64_t seed) {
    Random dice(seed);
    const SagaDefinition saga = saga_of(dice);
    INFO(random_saga::describe(saga));
    Rig rig(saga, dice);
    rig.begin();
    for (std::uint64_t i = dice.below(20); i > 0 && !rig.oracle.ended(); --i) rig.disturb();
    while (!rig.oracle.ended() && !(rig.attempts.empty() && rig.waits.empty())) {
      SagaInput input = aura::SagaWoke{0};
      if (!rig.waits.empty()) {
        const std::size_t step = *rig.waits.begin();
        rig.waits.erase(step);
        input = aura::SagaWoke{static_cast<std::uint8_t>(step)};
      } else {
        const auto [step, attempt] = *rig.attempts.begin();
        rig.attempts.erase(step);
        input = aura::SagaAttemptEnded{static_cast<std::uint8_t>(step), attempt, "fine"};
      }
      Random random(dice());
      Result<aura::SagaDecision> decision =
          decide(saga, rig.state, std::move(input),
                 {.run = "run", .now = rig.now, .random = random, .draining = true});
      REQUIRE(decision.has_value());
      REQUIRE(decision->actions.attempt == 0);
      rig.record(*decision);
    }
    if (!rig.oracle.ended()) rig.crash();
    rig.go_well();
  });
}

namespace {

/// Follows whatever decodes as far as a loader would, and decides on what comes out.
void survive(const std::vector<Record>& records, const SagaDefinition& saga, Random& dice) {
  SagaState state;
  for (const Record& record : records) {
    Result<aura::SagaEvents> events = decode_saga_record(record);
    if (!events) return;
    const Record again = encode_saga_record(*events, record.at, record.trace);
    REQUIRE(decode_saga_record(again).value() == *events);
    for (aura::SagaEvent& event : *events) {
      const bool first = event.type == aura::SagaEventType::started;
      if (first != state.steps.empty() || state.ended() || event.step >= saga.steps.size()) return;
      evolve(state, std::move(event), record.at, saga);
    }
  }
  if (state.steps.empty()) return;
  const auto step = static_cast<std::uint8_t>(dice.below(saga.steps.size()));
  for (SagaInput input : {SagaInput(aura::SagaResumed{}), SagaInput(aura::SagaCancel{Error{}}),
                          SagaInput(aura::SagaExpired{}), SagaInput(aura::SagaWoke{step}),
                          SagaInput(aura::SagaAttemptEnded{step, state.steps[step].attempt, some_error(dice)}),
                          SagaInput(aura::SagaResolve{aura::OperatorVerb::skip, step, ""})}) {
    Random random(dice());
    const auto decision = decide(saga, state, std::move(input),
                                 {.run = "run", .now = WallTime(1'000'010s), .random = random});
    if (decision) REQUIRE(decision->events.size() <= 200);
  }
}

}  // namespace

TEST_CASE("bytes that no engine wrote give an error or a state, never a crash") {
  for_each_seed("durable", "bytes that no engine wrote*", 300, [](std::uint64_t seed) {
    Random dice(seed);
    const SagaDefinition saga = saga_of(dice);
    Rig rig(saga, dice);
    rig.begin();
    for (int i = 0; i < 20 && !rig.oracle.ended(); ++i) rig.disturb();
    for (int round = 0; round < 40; ++round) {
      std::vector<Record> records = rig.records;
      records.resize(1 + dice.below(records.size()));
      std::string& bytes = records[dice.below(records.size())].payload;
      switch (dice.below(5)) {
        case 0: bytes.resize(dice.below(bytes.size() + 1)); break;
        case 1: bytes[dice.below(bytes.size())] = static_cast<char>(dice()); break;
        case 2: bytes.insert(dice.below(bytes.size() + 1), 1, static_cast<char>(dice())); break;
        case 3: bytes.erase(dice.below(bytes.size()), 1 + dice.below(3)); break;
        case 4:
          bytes.resize(dice.below(40));
          for (char& byte : bytes) byte = static_cast<char>(dice.chance(0.5) ? dice.below(16) : dice());
          break;
      }
      survive(records, saga, dice);
    }
  });
}

TEST_CASE("a record of another type, encoding or newer schema is refused, and says so") {
  const aura::SagaEvents events{{.type = aura::SagaEventType::compensation_began}};
  const Record sound = encode_saga_record(events, WallTime(5s), {});
  REQUIRE(decode_saga_record(sound).value() == events);
  Record other = sound;
  other.schema = 2;
  REQUIRE(decode_saga_record(other).error().is(aura::core_errc::newer_format));
  other = sound;
  other.type = "letter";
  REQUIRE(decode_saga_record(other).error().is(aura::saga_errc::bad_history));
  other = sound;
  other.encoding = "json";
  REQUIRE(decode_saga_record(other).error().is(aura::saga_errc::bad_history));
  other = sound;
  other.payload.clear();
  REQUIRE(decode_saga_record(other).error().is(aura::saga_errc::bad_history));
}

TEST_CASE("records of schema 1 as they were written by version 0.1 still read the same") {
  // started, saga "s" v1, fingerprint 300, deadline 5 s, steps "a" and "b", input "in"; then attempt 1 of step 0.
  const std::string kept("\x01\x01s\x01\xAC\x02\x01\x80\xC8\xAF\xA0\x25\x02\x01" "a" "\x01" "b" "\x02in" "\x02\x00\x01", 23);
  Record record{.type = "saga", .payload = kept};
  const Result<aura::SagaEvents> events = decode_saga_record(record);
  REQUIRE(events.has_value());
  REQUIRE(events->size() == 2);
  const aura::SagaBirth birth{.saga = "s", .version = 1, .fingerprint = 300, .deadline = WallTime(5s), .steps = {"a", "b"}};
  REQUIRE((*events)[0].birth == birth);
  REQUIRE((*events)[0].bytes == "in");
  REQUIRE((*events)[1].type == aura::SagaEventType::attempt_started);
  REQUIRE((*events)[1].attempt == 1);
  REQUIRE(encode_saga_record(*events, {}, {}).payload == kept);
}

TEST_CASE("a definition that contradicts itself is not completed") {
  const auto fault = [](std::vector<aura::StepDefinition> steps) {
    SagaDefinition saga;
    saga.steps = std::move(steps);
    const char* const said = saga.complete();
    return std::string(said ? said : "");
  };
  REQUIRE(fault({}) == "it has no steps");
  REQUIRE(fault(std::vector<aura::StepDefinition>(65)) == "it has more than 64 steps");
  REQUIRE(fault(std::vector<aura::StepDefinition>(64)) == "");
  aura::StepDefinition pivot, itself, lost;
  pivot.kind = aura::StepKind::pivot;
  itself.after = {0};
  lost.after = {7};
  REQUIRE(fault({pivot, pivot}) == "it has two pivots");
  REQUIRE(fault({itself}) == "its steps wait for each other in a cycle");
  REQUIRE(fault({lost}) == "a step comes after one that it does not have");
}

TEST_CASE("a fingerprint changes with names, kinds, edges and compensations, and with nothing that may be tuned") {
  const auto make = [](auto change) {
    SagaDefinition saga;
    saga.name = "s";
    saga.steps.resize(2);
    saga.steps[0].name = "a";
    saga.steps[1].name = "b";
    saga.steps[1].after = {0};
    change(saga);
    REQUIRE(saga.complete() == nullptr);
    return saga.fingerprint;
  };
  const std::uint64_t plain = make([](SagaDefinition&) {});
  REQUIRE(plain == make([](SagaDefinition& saga) {
            saga.steps[0].forward.retry.attempts_max = 9;
            saga.steps[0].forward.timeout = 3s;
            saga.parallel_max = 1;
          }));
  REQUIRE(plain != make([](SagaDefinition& saga) { saga.name = "t"; }));
  REQUIRE(plain != make([](SagaDefinition& saga) { saga.steps[0].name = "c"; }));
  REQUIRE(plain != make([](SagaDefinition& saga) { saga.steps[0].kind = aura::StepKind::pure; }));
  REQUIRE(plain != make([](SagaDefinition& saga) { saga.steps[1].after.clear(); }));
  REQUIRE(plain != make([](SagaDefinition& saga) {
            saga.steps[0].undo = [](std::shared_ptr<aura::StepCall>, const aura::StepInputs&) {};
          }));
}
