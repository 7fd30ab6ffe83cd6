// What an operator asks of a run, left in the journal for whoever drives it.
//
// A command is a stream of its own with one record. The runner that holds the run takes it up in the commit that
// carries it out, so it is carried out once, whatever crashes in between.
#pragma once

#include <aura/core/detail/wire.hpp>
#include <aura/core/journal.hpp>
#include <aura/durable/saga_engine.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace aura {

inline constexpr std::string_view saga_command_kind = "saga_command";

enum class SagaVerb : std::uint8_t { retry = 1, skip = 2, supply = 3, cancel = 4 };

constexpr std::string_view to_string(SagaVerb verb) noexcept {
  switch (verb) {
    case SagaVerb::retry: return "retry";
    case SagaVerb::skip: return "skip";
    case SagaVerb::supply: return "supply";
    case SagaVerb::cancel: return "cancel";
  }
  return "unknown";
}

struct SagaCommand {
  SagaVerb verb{};
  RunId run;
  std::string step;   ///< of the stuck step; empty for a cancel
  std::string bytes;  ///< the reason, or, to supply, the encoded result

  friend bool operator==(const SagaCommand&, const SagaCommand&) = default;
};

namespace detail {

inline Record encode_saga_command(const SagaCommand& command, WallTime at) {
  Record record{.type = "saga.command", .at = at};
  WireWriter out(record.payload);
  out.byte(static_cast<std::uint8_t>(command.verb));
  out.text(command.run.str());
  out.text(command.step);
  out.text(command.bytes);
  return record;
}

inline Result<SagaCommand> decode_saga_command(const Record& record) {
  WireReader in(record.payload);
  SagaCommand command;
  const std::uint8_t verb = in.byte();
  Result<RunId> run = RunId::parse(in.text());
  command.step = in.text();
  command.bytes = in.text();
  if (record.type != "saga.command" || record.schema != 1 || verb < 1 || verb > 4 || !run || !in.ok() || !in.at_end())
    return Error{core_errc::bad_encoding, ErrorClass::permanent, "a saga command that does not parse"};
  command.verb = static_cast<SagaVerb>(verb);
  command.run = std::move(*run);
  return command;
}

/// Closes a command's stream: put into the commit that carries it out or refuses it.
inline Append close_saga_command(std::string stream, std::string state, std::string reason, WallTime at) {
  Append append{.stream = std::move(stream), .expected_version = 1};
  append.records.push_back({.type = "saga.command.closed", .at = at, .payload = std::move(reason)});
  append.index = StreamIndex{.state = std::move(state), .open = false};
  return append;
}

}  // namespace detail

/// The batch that leaves a command. `id` is the asker's own and makes it idempotent: a second commit under the same id
/// is a version conflict. At most 10,000 commands wait.
inline Batch leave_saga_command(const SagaCommand& command, std::string_view id, WallTime at) {
  Append append{.stream = "saga-command/" + std::string(id)};
  append.records.push_back(detail::encode_saga_command(command, at));
  append.index = StreamIndex{.state = "asked"};
  append.index->attributes = Attributes{{"run", command.run.str()}};
  append.birth = StreamBirth{.kind = std::string(saga_command_kind), .holder = {}, .open_of_kind_max = 10'000};
  Batch batch;
  batch.appends.push_back(std::move(append));
  return batch;
}

}  // namespace aura
