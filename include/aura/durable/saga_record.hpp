// Saga events as the payload of a record, and back.
//
// Schema 1, "binary": events one after another, each a type byte and then the fields of its type (below), integers as
// LEB128, signed ones zigzag, text with its length before it. Bytes that no engine wrote give an error.
#pragma once

#include <aura/core/detail/wire.hpp>
#include <aura/core/record.hpp>
#include <aura/core/result.hpp>
#include <aura/durable/saga_error.hpp>
#include <aura/durable/saga_event.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

inline constexpr std::string_view saga_record_type = "saga";
inline constexpr std::uint16_t saga_record_schema = 1;

namespace detail {

inline void write_birth(WireWriter& out, const SagaBirth& birth) {
  out.text(birth.saga);
  out.varint(birth.version);
  out.varint(birth.fingerprint);
  out.byte(birth.deadline ? 1 : 0);
  if (birth.deadline) out.zigzag(birth.deadline->time_since_epoch().count());
  out.varint(birth.steps.size());
  for (const std::string& step : birth.steps) out.text(step);
}

inline SagaBirth read_birth(WireReader& in) {
  SagaBirth birth;
  birth.saga = in.text();
  birth.version = in.small();
  birth.fingerprint = in.varint();
  if (in.byte() != 0) birth.deadline = WallTime(Duration(in.zigzag()));
  const std::uint64_t steps = in.varint();
  if (steps > 64) in.fail();
  for (std::uint64_t i = 0; i < steps && in.ok(); ++i) birth.steps.emplace_back(in.text());
  return birth;
}

inline void write_event(WireWriter& out, const SagaEvent& event) {
  const auto type = static_cast<std::uint8_t>(event.type);
  switch (event.type) {
    case SagaEventType::started:
      out.byte(type);
      write_birth(out, *event.birth);
      out.text(event.bytes);
      break;
    case SagaEventType::attempt_started:
    case SagaEventType::interrupted: out.bytes_and_varint(type, event.step, event.attempt); break;
    case SagaEventType::attempt_succeeded:
      out.bytes_and_varint(type, event.step, event.attempt);
      out.text(event.bytes);
      break;
    case SagaEventType::attempt_failed:
      out.bytes_and_varint(type, event.step, event.attempt);
      out.byte(static_cast<std::uint8_t>(event.verdict));
      out.error(*event.error);
      if (event.verdict == FailureVerdict::retry) out.zigzag(event.wake_at.time_since_epoch().count());
      break;
    case SagaEventType::cancel_requested:
    case SagaEventType::expired:
      out.byte(type);
      out.error(*event.error);
      break;
    case SagaEventType::compensation_began:
    case SagaEventType::went_forward: out.byte(type); break;
    case SagaEventType::retry_asked:
    case SagaEventType::skipped:
    case SagaEventType::supplied:
      out.byte(type);
      out.byte(event.step);
      out.text(event.bytes);
      break;
    case SagaEventType::ended:
      out.byte(type);
      out.byte(static_cast<std::uint8_t>(event.outcome));
      break;
  }
}

inline Error read_error(WireReader& in) {
  std::optional<Error> error = in.error();
  return error ? std::move(*error) : Error{};
}

inline SagaEvent read_event(WireReader& in) {
  SagaEvent event;
  event.type = static_cast<SagaEventType>(in.byte());
  switch (event.type) {
    case SagaEventType::started:
      event.birth = read_birth(in);
      event.bytes = in.text();
      break;
    case SagaEventType::attempt_started:
    case SagaEventType::interrupted:
      event.step = in.byte();
      event.attempt = in.small();
      break;
    case SagaEventType::attempt_succeeded:
      event.step = in.byte();
      event.attempt = in.small();
      event.bytes = in.text();
      break;
    case SagaEventType::attempt_failed: {
      event.step = in.byte();
      event.attempt = in.small();
      const std::uint8_t verdict = in.byte();
      if (verdict < 1 || verdict > 4) in.fail();
      event.verdict = static_cast<FailureVerdict>(verdict);
      event.error = read_error(in);
      if (event.verdict == FailureVerdict::retry) event.wake_at = WallTime(Duration(in.zigzag()));
      break;
    }
    case SagaEventType::cancel_requested:
    case SagaEventType::expired: event.error = read_error(in); break;
    case SagaEventType::compensation_began:
    case SagaEventType::went_forward: break;
    case SagaEventType::retry_asked:
    case SagaEventType::skipped:
    case SagaEventType::supplied:
      event.step = in.byte();
      event.bytes = in.text();
      break;
    case SagaEventType::ended: {
      const std::uint8_t outcome = in.byte();
      if (outcome < 1 || outcome > 3) in.fail();
      event.outcome = static_cast<RunOutcome>(outcome);
      break;
    }
    default: in.fail();
  }
  if (event.step >= 64) in.fail();
  return event;
}

}  // namespace detail

namespace detail {

/// Close to what `write_event` writes: exact for most events, so that a short payload stays within its string.
inline std::size_t likely_bytes_of(const SagaEvent& event) noexcept {
  switch (event.type) {
    case SagaEventType::attempt_started: return 3;
    case SagaEventType::attempt_succeeded: return event.bytes.size() + (event.bytes.size() < 0x80 ? 4 : 6);
    case SagaEventType::ended: return 2;
    default: return event.bytes.size() + 64;
  }
}

}  // namespace detail

/// The record that holds these events. Cost: at most one allocation for the payload, as a rule.
inline Record encode_saga_record(const SagaEvents& events, WallTime at, const TraceContext& trace) {
  Record record;
  record.type = saga_record_type;
  record.schema = saga_record_schema;
  record.at = at;
  record.trace = trace;
  std::size_t size = 0;
  for (const SagaEvent& event : events) size += detail::likely_bytes_of(event);
  record.payload.reserve(size);
  detail::WireWriter out(record.payload);
  for (const SagaEvent& event : events) {
    detail::write_event(out, event);
    if (record.attempt == 0) record.attempt = event.attempt;
  }
  return record;
}

/// saga_errc::bad_history for what no engine wrote, core_errc::newer_format for a newer schema.
inline Result<SagaEvents> decode_saga_record(const Record& record) {
  if (record.type != saga_record_type || record.encoding != "binary")
    return Error{saga_errc::bad_history, ErrorClass::permanent,
                 "a record of type \"" + record.type.substr(0, 40) + "\" in a saga's history"};
  if (record.schema > saga_record_schema)
    return Error{core_errc::newer_format, ErrorClass::permanent,
                 "a saga record of schema " + std::to_string(record.schema) + "; this library reads up to " +
                     std::to_string(saga_record_schema)};
  SagaEvents events;
  detail::WireReader in(record.payload);
  do {
    events.push_back(detail::read_event(in));
  } while (in.ok() && !in.at_end());
  if (!in.ok()) return Error{saga_errc::bad_history, ErrorClass::permanent, "a saga record that does not parse"};
  return events;
}

}  // namespace aura
