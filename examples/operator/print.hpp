// Streams, histories and letters as a person wants to read them.
#pragma once

#include <aura/core/journal.hpp>
#include <aura/durable/dead_letter_queue.hpp>
#include <aura/durable/saga_event.hpp>
#include <aura/durable/saga_record.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace operating {

/// A journal may hold anything: what is no printable ASCII is shown as a dot, and long text is cut.
inline std::string shown(std::string_view text, std::size_t most = 120) {
  std::string out;
  for (const char c : text.substr(0, most)) out += c >= ' ' && c <= '~' ? c : '.';
  return text.size() > most ? out + "..." : out;
}

inline std::string time_text(aura::WallTime at) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch());
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch() - seconds).count();
  const std::tm utc = fmt::gmtime(static_cast<std::time_t>(seconds.count()));
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", utc, millis);
}

inline std::string_view run_name(std::string_view stream) { return stream.substr(stream.find('/') + 1); }

inline void print_heads(const std::vector<aura::StreamHead>& heads) {
  fmt::print("{:<28} {:<12} {:<23}  {:>9}  {}\n", "run", "state", "changed (UTC)", "age", "attributes");
  for (const aura::StreamHead& head : heads) {
    std::string attributes;
    for (const auto& [name, value] : head.attributes)
      attributes += (attributes.empty() ? "" : " ") + shown(name) + "=" + shown(value);
    const double age = std::chrono::duration<double>(head.updated - head.created).count();
    fmt::print("{:<28} {:<12} {:<23}  {:>7.2f} s  {}\n", shown(run_name(head.stream)), shown(head.state),
               time_text(head.updated), age, attributes);
  }
}

/// "attempt 3 of bill failed, it is stuck: gateway/2 transient: the refund was not accepted"
inline std::string event_text(const aura::SagaEvent& event, const std::vector<std::string>& steps, bool undoing) {
  using enum aura::SagaEventType;
  const std::string step = event.step < steps.size() ? shown(steps[event.step]) : fmt::format("step {}", event.step);
  const std::string which = undoing ? "the compensation of " + step : step;
  switch (event.type) {
    case started:
      return fmt::format("started as {} v{} with {}", shown(event.birth->saga), event.birth->version,
                         shown(event.bytes));
    case attempt_started: return fmt::format("attempt {} of {} begins", event.attempt, which);
    case attempt_succeeded:
      return fmt::format("attempt {} of {} succeeded{}{}", event.attempt, which, event.bytes.empty() ? "" : ": ",
                         shown(event.bytes));
    case attempt_failed:
      return fmt::format("attempt {} of {} failed ({}): {}", event.attempt, which, to_string(event.verdict),
                         shown(aura::to_string(*event.error), 300));
    case interrupted: return fmt::format("attempt {} of {} was interrupted: its process ended", event.attempt, which);
    case cancel_requested: return "cancelled: " + shown(event.error ? event.error->message() : "", 300);
    case expired: return "passed its deadline";
    case compensation_began: return "goes back";
    case went_forward: return "goes forward: its point of no return was passed";
    case retry_asked: return fmt::format("an operator asked to retry {}: {}", which, shown(event.bytes, 300));
    case skipped: return fmt::format("an operator skipped {}: {}", which, shown(event.bytes, 300));
    case supplied: return fmt::format("an operator supplied the result of {}: {}", which, shown(event.bytes, 300));
    case ended: return fmt::format("ended: {}", to_string(event.outcome));
  }
  return "something that this tool does not know";
}

inline void print_history(const std::vector<aura::Record>& records) {
  std::vector<std::string> steps;
  bool undoing = false;
  for (const aura::Record& record : records) {
    const aura::SagaEvents events = aura::decode_saga_record(record).value();
    for (const aura::SagaEvent& event : events) {
      if (event.birth) steps = event.birth->steps;
      const double since = std::chrono::duration<double>(record.at - records.front().at).count();
      fmt::print("{}  {:>+10.3f} s  {}\n", time_text(record.at), since, event_text(event, steps, undoing));
      undoing |= event.type == aura::SagaEventType::compensation_began;
    }
  }
}

inline void print_letters(const std::vector<aura::DeadLetterEntry>& letters) {
  fmt::print("{:<32} {:<12} {:>8}  {:<23}  {}\n", "letter", "state", "attempts", "last failure (UTC)", "what");
  for (const aura::DeadLetterEntry& entry : letters) {
    fmt::print("{:<32} {:<12} {:>8}  {:<23}  {}\n", shown(entry.letter.id), shown(entry.state), entry.letter.attempts,
               time_text(entry.letter.last_failure), shown(entry.letter.what));
    fmt::print("{:<32} {}\n", "", shown(aura::to_string(entry.letter.error), 300));
  }
}

}  // namespace operating
