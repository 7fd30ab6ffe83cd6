// A run's history as JSON, and the question whether today's definition would still write it.
#pragma once

#include <aura/core/json_codec.hpp>
#include <aura/durable/detail/saga_loader.hpp>
#include <aura/durable/saga_engine.hpp>
#include <aura/durable/saga_record.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Where a history and a definition part ways.
struct SagaDivergence {
  std::size_t record = 0;  ///< index in the stream
  std::size_t event = 0;   ///< index in the record
  std::string expected;    ///< what the definition would have written there
  std::string found;       ///< what the history says
};

namespace detail {

/// Bytes in the most readable form that gives them back exactly: JSON, plain text, or hexadecimal.
template <class Json>
void put_bytes(Json& json, const std::string& name, const std::string& bytes) {
  if (Json::accept(bytes)) {
    json[name] = Json::parse(bytes);
    json[name + "_is"] = "json";
    if (json[name].dump() == bytes) return;
  }
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
    json[name] = bytes;
    json[name + "_is"] = "text";
    return;
  }
  std::string hex;
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : bytes) {
    hex += digits[static_cast<unsigned char>(c) >> 4];
    hex += digits[static_cast<unsigned char>(c) & 15];
  }
  json[name] = hex;
  json[name + "_is"] = "hex";
}

template <class Json>
std::string get_bytes(const Json& json, const std::string& name) {
  if (json.at(name + "_is") == "json") return json.at(name).dump();
  if (json.at(name + "_is") == "text") return json.at(name).template get<std::string>();
  const auto& hex = json.at(name).template get_ref<const std::string&>();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    std::array<std::uint8_t, 1> byte{};
    if (!parse_hex(std::string_view(hex).substr(i, 2), byte)) throw std::invalid_argument("bad hexadecimal");
    bytes += static_cast<char>(byte[0]);
  }
  return bytes;
}

template <class Json>
Json to_json(const Error& error) {
  return {{"domain", std::string(error.domain())},
          {"code", error.code()},
          {"class", static_cast<int>(error.error_class())},
          {"message", std::string(error.message())}};
}

template <class Json>
Error error_from_json(const Json& json) {
  const int error_class = json.at("class").template get<int>();
  if (error_class < 0 || error_class > static_cast<int>(ErrorClass::rejected))
    throw std::invalid_argument("an error class that does not exist");
  return Error(json.at("domain").template get<std::string>(), json.at("code").template get<std::int32_t>(),
               static_cast<ErrorClass>(error_class), json.at("message").template get<std::string>());
}

template <class Json>
Json to_json(const SagaEvent& event, const std::vector<std::string>& steps) {
  Json json{{"event", std::string(to_string(event.type))}, {"type", static_cast<int>(event.type)}};
  const bool of_a_step = event.type != SagaEventType::started && event.type != SagaEventType::cancel_requested &&
                         event.type != SagaEventType::expired && event.type != SagaEventType::compensation_began &&
                         event.type != SagaEventType::went_forward && event.type != SagaEventType::ended;
  if (of_a_step) {
    json["step"] = event.step < steps.size() ? steps[event.step] : std::string();
    json["step_index"] = event.step;
  }
  if (event.attempt) json["attempt"] = event.attempt;
  if (event.error) json["error"] = to_json<Json>(*event.error);
  if (event.type == SagaEventType::ended) json["outcome"] = std::string(to_string(event.outcome));
  if (event.type == SagaEventType::ended) json["outcome_code"] = static_cast<int>(event.outcome);
  if (event.type == SagaEventType::attempt_failed) json["verdict"] = static_cast<int>(event.verdict);
  if (event.verdict == FailureVerdict::retry) json["wake_at"] = event.wake_at.time_since_epoch().count();
  if (!event.bytes.empty()) put_bytes(json, "bytes", event.bytes);
  if (event.birth) {
    json["birth"] = {{"saga", event.birth->saga},
                     {"version", event.birth->version},
                     {"fingerprint", event.birth->fingerprint},
                     {"steps", event.birth->steps}};
    if (event.birth->deadline) json["birth"]["deadline"] = event.birth->deadline->time_since_epoch().count();
  }
  return json;
}

template <class Json>
SagaEvent event_from_json(const Json& json) {
  SagaEvent event{.type = static_cast<SagaEventType>(json.at("type").template get<int>())};
  event.step = json.value("step_index", std::uint8_t{0});
  event.attempt = json.value("attempt", 0u);
  event.verdict = static_cast<FailureVerdict>(json.value("verdict", 0));
  event.outcome = static_cast<RunOutcome>(json.value("outcome_code", 0));
  event.wake_at = WallTime(Duration(json.value("wake_at", std::int64_t{0})));
  if (json.contains("bytes")) event.bytes = get_bytes(json, "bytes");
  if (json.contains("error")) event.error = error_from_json(json.at("error"));
  if (!json.contains("birth")) return event;
  const Json& birth = json.at("birth");
  event.birth =
      SagaBirth{birth.at("saga").template get<std::string>(), birth.at("version").template get<std::uint32_t>(),
                birth.at("fingerprint").template get<std::uint64_t>(), std::nullopt,
                birth.at("steps").template get<std::vector<std::string>>()};
  if (birth.contains("deadline"))
    event.birth->deadline = WallTime(Duration(birth.at("deadline").template get<std::int64_t>()));
  return event;
}

/// Whether an event is what happened to the run, rather than what the engine concluded from it. `woken` tells an
/// attempt that a backoff's end began from one that follows from the event before it.
inline bool is_cause(const SagaEvent& event, const SagaProgress& before) {
  switch (event.type) {
    case SagaEventType::compensation_began:
    case SagaEventType::went_forward:
    case SagaEventType::ended: return false;
    case SagaEventType::attempt_started: return (before.backing_off & step_bit(event.step)) != 0;
    default: return true;
  }
}

inline std::string describe(const SagaEvent& event, const SagaDefinition& saga) {
  std::string text(to_string(event.type));
  if (event.type == SagaEventType::attempt_started && event.step < saga.steps.size())
    text += " of " + saga.steps[event.step].name;
  if (event.type == SagaEventType::ended) text += " as " + std::string(to_string(event.outcome));
  return text;
}

class HistoryReplay {
 public:
  HistoryReplay(const RunId& run, const SagaDefinition& saga) : run_(run), saga_(saga) {}

  Result<std::optional<SagaDivergence>> take(std::size_t index, const Record& record) {
    Result<SagaEvents> events = decode_saga_record(record);
    if (!events) return events.error();
    if (!index)
      expected_.clear();
    else
      conclude(record.at);  // what a drained runner left undone
    const std::size_t left_over = expected_.size();
    if (left_behind_ && goes_on(*events)) return left_behind_;
    left_behind_.reset();
    for (std::size_t e = 0; e < events->size(); ++e) {
      SagaEvent& event = (*events)[e];
      if (const auto fault = unfit(event)) return *fault;
      const bool cause = is_cause(event, state_.progress);
      if (cause && e == 0 && left_over != 0) expected_.clear();  // something else came before its successor
      if (cause ? !expected_.empty() : expected_.empty() || !same(expected_.front(), event))
        return std::optional(divergence(index, e, describe(event, saga_)));
      if (!expected_.empty()) expected_.erase(expected_.begin());
      evolve(state_, std::move(event), record.at, saga_);
      if (cause) conclude(record.at);
    }
    const bool drained = std::all_of(expected_.begin(), expected_.end(), [](const SagaEvent& event) {
      return event.type == SagaEventType::attempt_started;
    });
    if (!expected_.empty()) left_behind_ = divergence(index, events->size(), "nothing");
    return drained ? std::optional<SagaDivergence>{} : left_behind_;
  }

 private:
  /// A runner that drains begins no attempt any more: one that does has not left the earlier ones to its successor.
  static bool goes_on(const SagaEvents& events) {
    return is_cause(events.front(), SagaProgress{}) && events.front().type != SagaEventType::interrupted &&
           std::any_of(events.begin(), events.end(),
                       [](const SagaEvent& event) { return event.type == SagaEventType::attempt_started; });
  }

  std::optional<Error> unfit(const SagaEvent& event) const {
    if (event.birth && event.birth->steps.size() != saga_.steps.size())
      return Error{saga_errc::definition_differs, ErrorClass::permanent,
                   "run " + run_.str() + " was begun by a definition of " +
                       std::to_string(event.birth->steps.size()) + " steps, and this one has " +
                       std::to_string(saga_.steps.size())};
    if (const char* wrong = event_fault(event, state_, saga_))
      return Error{saga_errc::bad_history, ErrorClass::permanent, "run " + run_.str() + ": " + wrong};
    return std::nullopt;
  }

  static bool same(const SagaEvent& a, const SagaEvent& b) {
    return a.type == b.type && a.step == b.step && a.outcome == b.outcome;
  }

  /// What follows from the state.
  void conclude(WallTime at) {
    Random random;
    const SagaWorld world{run_.str(), at, random};
    SagaDecision decision;
    SagaDecider(saga_, state_, world, decision).advance();
    expected_ = std::move(decision.events);
  }

  SagaDivergence divergence(std::size_t record, std::size_t event, std::string found) const {
    return {record, event, expected_.empty() ? "nothing" : describe(expected_.front(), saga_), std::move(found)};
  }

  const RunId& run_;
  const SagaDefinition& saga_;
  SagaState state_;
  SagaEvents expected_;  ///< what should come next
  std::optional<SagaDivergence> left_behind_;  ///< attempts that should have begun, and perhaps were drained
};

}  // namespace detail

/// A run's history, readable and complete: `import_history(export_history(r))` gives the same records.
/// saga_errc::bad_history where a record is none of a saga. `Json` is any `nlohmann::basic_json`; a template so that who
/// only includes this pays for no JSON.
template <class Json = nlohmann::json>
Result<Json> export_history(const RunId& run, const std::vector<Record>& records) {
  Json out{{"format", "aura.saga.history"}, {"schema", 1}, {"run", run.str()}, {"records", Json::array()}};
  std::vector<std::string> steps;
  for (const Record& record : records) {
    Result<SagaEvents> events = decode_saga_record(record);
    if (!events) return events.error();
    Json entry{{"at", record.at.time_since_epoch().count()}, {"events", Json::array()}};
    if (record.trace.valid()) entry["traceparent"] = to_traceparent(record.trace);
    for (const SagaEvent& event : *events) {
      if (event.birth) steps = event.birth->steps;
      entry["events"].push_back(detail::to_json<Json>(event, steps));
    }
    out["records"].push_back(std::move(entry));
  }
  return out;
}

/// The records of an exported history. saga_errc::bad_history where the JSON is not one, core_errc::newer_format where
/// a later version wrote it.
template <class Json>
Result<std::vector<Record>> import_history(const Json& json) try {
  if (json.at("format") != "aura.saga.history")
    return Error{saga_errc::bad_history, ErrorClass::permanent, "the JSON is no saga's history"};
  if (json.at("schema").template get<int>() > 1)
    return Error{core_errc::newer_format, ErrorClass::permanent, "the history is of a newer schema than 1"};
  std::vector<Record> records;
  for (const Json& entry : json.at("records")) {
    SagaEvents events;
    for (const Json& event : entry.at("events")) events.push_back(detail::event_from_json(event));
    for (const SagaEvent& event : events)
      if ((event.type == SagaEventType::started) != event.birth.has_value() ||
          ((event.type == SagaEventType::attempt_failed || event.type == SagaEventType::cancel_requested ||
            event.type == SagaEventType::expired) &&
           !event.error))
        return Error{saga_errc::bad_history, ErrorClass::permanent, "an event of the history lacks a part"};
    TraceContext trace{};
    if (entry.contains("traceparent"))
      trace = parse_traceparent(entry.at("traceparent").template get<std::string>()).value();
    records.push_back(
        encode_saga_record(events, WallTime(Duration(entry.at("at").template get<std::int64_t>())), trace));
    if (Result<SagaEvents> sound = decode_saga_record(records.back()); !sound) return sound.error();
  }
  return records;
} catch (const std::exception& fault) {
  return Error{saga_errc::bad_history, ErrorClass::permanent,
               std::string("the history does not parse: ") + fault.what()};
}

/// Replays a history against a definition: what happened to the run is taken from the history, what followed from it is
/// decided anew and compared. None where they agree throughout; choices that may be tuned (retry or give up, and when)
/// are taken as they were made, and attempts that a draining runner left to its successor are waited for.
/// Errors: saga_errc::bad_history, definition_differs.
inline Result<std::optional<SagaDivergence>> replay_history(const RunId& run, const std::vector<Record>& records,
                                                            const SagaDefinition& saga) {
  detail::HistoryReplay replay(run, saga);
  for (std::size_t i = 0; i < records.size(); ++i) {
    Result<std::optional<SagaDivergence>> found = replay.take(i, records[i]);
    if (!found || *found) return found;
  }
  return std::optional<SagaDivergence>{};
}

}  // namespace aura
