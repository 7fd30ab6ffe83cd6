// Histories: out as JSON and back, and replayed against a definition.
#include "support/saga_world.hpp"

#include <aura/durable/saga_history.hpp>

namespace {

using namespace std::chrono_literals;
using aura::Error;
using aura::ErrorClass;
using aura::Result;
using aura::RunId;
using aura::step;
using aura::version;

const RunId run{"r"};

/// Fails on the way in `fail_at`; everything a history can hold happens in one or another of its runs.
auto order_saga(std::string fail_at) {
  const auto act = [fail_at](const char* name) {
    return [fail_at, name](const int&, aura::StepContext& context) -> Result<std::string> {
      if (context.attempt() == 1) return Error{"test", 1, ErrorClass::transient, "first try"};
      if (fail_at == name) return Error{"test", 2, ErrorClass::permanent, "never"};
      return std::string("\xFF bytes");
    };
  };
  const auto later = [](const int&, const std::string&) { return 1; };
  return aura::Saga{
      "order",
      version{1},
      step<"reserve">(act("reserve")).undo([](const int&) {}),
      step<"charge">(act("charge")).undo([](const int&) {}),
      step<"ship">([](const int&, const std::string&, const std::string&) {}).after<"reserve", "charge">().pivot(),
      step<"thank">(later).after<"reserve">().retriable()};
}

std::vector<aura::Record> history_of(const std::string& fail_at) {
  SagaWorld world;
  const auto saga = order_saga(fail_at);
  auto runner = world.ready(saga);
  aura::SagaStart extra;
  extra.trace = aura::parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").value();
  REQUIRE(world.start(*runner, saga, "r", 1, extra).has_value());
  REQUIRE(world.wait(*runner, "r").has_value());
  return world.history("r");
}

/// The saga as it would be with an edge taken out: the same steps, another order.
aura::SagaDefinition without_edges(const aura::SagaDefinition& saga) {
  aura::SagaDefinition changed = saga;
  changed.steps[3].after.clear();
  changed.steps[1].after = {0};
  REQUIRE(changed.complete() == nullptr);
  return changed;
}

}  // namespace

TEST_CASE("an exported history gives back the same records, through text") {
  for (const char* fail_at : {"", "charge", "reserve"}) {
    const auto records = history_of(fail_at);
    const auto json = aura::export_history(run, records).value();
    const auto ordered = aura::export_history<nlohmann::ordered_json>(run, records).value();
    REQUIRE(nlohmann::json(ordered) == json);
    REQUIRE(aura::import_history(ordered).value() == records);
    REQUIRE(aura::import_history(nlohmann::json::parse(json.dump(2))).value() == records);
    REQUIRE(json.at("records").at(0).at("events").at(1).at("step") == "reserve");
    REQUIRE(json.at("records").at(0).at("traceparent") == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  }
}

TEST_CASE("a history replays against the definition that wrote it, however the run went") {
  for (const char* fail_at : {"", "charge", "reserve"}) {
    const auto saga = order_saga("");
    const auto replayed = aura::replay_history(run, history_of(fail_at), *saga.definition());
    REQUIRE(replayed.has_value());
    REQUIRE_FALSE(replayed->has_value());
  }
}

TEST_CASE("where a definition would have gone another way, the replay says where and how") {
  const auto saga = order_saga("");
  const auto changed = without_edges(*saga.definition());
  const auto replayed = aura::replay_history(run, history_of(""), changed).value();
  REQUIRE(replayed.has_value());
  REQUIRE(replayed->record == 0);
  REQUIRE(replayed->event == 2);
  REQUIRE(replayed->expected == "nothing");
  REQUIRE(replayed->found == "attempt_started of charge");
}

TEST_CASE("a definition of fewer steps does not fit, and records that no engine wrote are refused") {
  const auto records = history_of("");
  const aura::Saga small{"order", version{1}, step<"reserve">([](const int&) {}).pure()};
  REQUIRE(aura::replay_history(run, records, *small.definition()).error().is(aura::saga_errc::definition_differs));
  auto broken = records;
  broken.erase(broken.begin());
  const auto saga = order_saga("");
  REQUIRE(aura::replay_history(run, broken, *saga.definition()).error().is(aura::saga_errc::bad_history));
}

TEST_CASE("a drained run's history replays, and so does what its successor adds") {
  SagaWorld world;
  int acts = 0;
  aura::Saga saga{"slow", version{1},
                  step<"a">(aura::initiates<void>([&](const int&, aura::StepContext& context,
                                                      std::function<void(Result<void>)> done) {
                    ++acts;
                    context.wait(1s, [done](boost::system::error_code) { done({}); });
                  })).pure(),
                  step<"b">([&](const int&) { ++acts; }).pure().after<"a">()};
  auto runner = world.ready(saga);
  REQUIRE(world.start(*runner, saga, "r", 1).has_value());
  REQUIRE(world.drain(*runner, 10s).has_value());
  const auto replayed = [&] { return aura::replay_history(run, world.history("r"), *saga.definition()).value(); };
  REQUIRE(acts == 1);
  REQUIRE_FALSE(replayed().has_value());
  auto successor = world.ready(saga);
  REQUIRE(world.wait(*successor, "r").value().completed());
  REQUIRE(acts == 2);
  REQUIRE_FALSE(replayed().has_value());
}

TEST_CASE("JSON that is no history is refused with a reason, whatever is wrong with it") {
  const auto json = aura::export_history(run, history_of("charge")).value();
  REQUIRE(aura::import_history(nlohmann::json::parse("[]")).error().is(aura::saga_errc::bad_history));
  auto newer = json;
  newer["schema"] = 2;
  REQUIRE(aura::import_history(newer).error().is(aura::core_errc::newer_format));
  const std::string text = json.dump();
  aura::Random dice(1);
  for (int i = 0; i < 2000; ++i) {  // never a crash
    std::string damaged = text;
    damaged[dice.below(damaged.size())] = static_cast<char>(' ' + dice.below(95));
    const auto parsed = nlohmann::json::parse(damaged, nullptr, false);
    if (parsed.is_discarded()) continue;
    const auto imported = aura::import_history(parsed);
    if (imported) (void)aura::replay_history(run, *imported, *order_saga("").definition());
  }
}
