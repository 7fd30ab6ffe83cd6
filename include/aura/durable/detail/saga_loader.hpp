// From a stream of records back to a run.
#pragma once

#include <aura/core/journal.hpp>
#include <aura/durable/detail/saga_run.hpp>
#include <aura/durable/saga_error.hpp>
#include <aura/durable/saga_record.hpp>

#include <boost/asio/bind_executor.hpp>

#include <atomic>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

inline constexpr std::size_t history_page = 1000;
inline constexpr std::size_t history_records_max = 1'000'000;

/// Reads a whole stream, a page at a time, and calls `done(Result<std::vector<Record>>)` on the executor. Once `stopped`,
/// which `done` keeps alive, the journal is not asked any more: it may be gone.
template <journal Journal, class Done>
struct HistoryReader : std::enable_shared_from_this<HistoryReader<Journal, Done>> {
  HistoryReader(Journal& storage, boost::asio::any_io_executor where, std::string name,
                const std::atomic<bool>& no_more, Done then)
      : log(storage), executor(std::move(where)), stream(std::move(name)), stopped(no_more), done(std::move(then)) {}

  void next() {
    if (stopped.load())
      return done(
          Error{saga_errc::draining, ErrorClass::cancelled, "the runner was stopped before it read " + stream});
    log.read(
        stream, records.size(), history_page,
        boost::asio::bind_executor(executor, [self = this->shared_from_this()](Result<std::vector<Record>> page) {
          self->take(std::move(page));
        }));
  }

  void take(Result<std::vector<Record>> page) {
    if (!page) return done(std::move(page));
    const bool last = page->size() < history_page;
    if (records.empty())
      records = std::move(*page);
    else
      records.insert(records.end(), std::make_move_iterator(page->begin()), std::make_move_iterator(page->end()));
    if (records.size() > history_records_max)
      return done(Error{core_errc::too_large, ErrorClass::permanent,
                        stream + " has more than " + std::to_string(history_records_max) + " records"});
    last ? done(std::move(records)) : next();
  }

  Journal& log;
  boost::asio::any_io_executor executor;
  std::string stream;
  const std::atomic<bool>& stopped;
  Done done;
  std::vector<Record> records;
};

template <journal Journal, class Done>
void load_history(Journal& log, boost::asio::any_io_executor executor, std::string stream,
                  const std::atomic<bool>& stopped, Done done) {
  std::make_shared<HistoryReader<Journal, Done>>(log, std::move(executor), std::move(stream), stopped,
                                                 std::move(done))
      ->next();
}

struct LoadedRun {
  RegisteredSaga saga;
  SagaState state;
  TraceContext trace;
};

/// Null where the event may follow in this state, else what is wrong with it.
inline const char* event_fault(const SagaEvent& event, const SagaState& state, const SagaDefinition& saga) {
  if (event.type == SagaEventType::started) return state.steps.empty() ? nullptr : "it starts twice";
  if (state.steps.empty()) return "it does not begin with its start";
  if (state.ended()) return "it goes on after its end";
  if (event.step >= saga.steps.size()) return "it names a step that its saga does not have";
  return nullptr;
}

/// Rebuilds a run. `find(saga, version)` gives a RegisteredSaga. Errors name the run and say why it must be held.
template <class Find>
Result<LoadedRun> build_run(const RunId& id, const std::vector<Record>& records, Find&& find) {
  const auto fault = [&](saga_errc code, const std::string& why) {
    return Error{code, ErrorClass::permanent, "run " + id.str() + " " + why};
  };
  if (records.empty()) return fault(saga_errc::unknown_run, "is not in the journal");
  LoadedRun run{.saga = {}, .state = {}, .trace = records.front().trace};
  for (const Record& record : records) {
    Result<SagaEvents> events = decode_saga_record(record);
    if (!events) return fault(saga_errc::bad_history, "cannot be read: " + std::string(events.error().message()));
    for (SagaEvent& event : *events) {
      if (!run.saga.definition) {
        if (!event.birth) return fault(saga_errc::bad_history, "cannot be read: it does not begin with its start");
        const SagaBirth& birth = *event.birth;
        const std::string begun = "was begun by " + birth.saga + " v" + std::to_string(birth.version);
        run.saga = find(birth.saga, birth.version);
        if (!run.saga.definition) return fault(saga_errc::definition_missing, begun + ", which is not registered");
        if (run.saga.definition->fingerprint != birth.fingerprint)
          return fault(saga_errc::definition_differs, begun + ", and the registered one has other steps");
      }
      if (const char* wrong = event_fault(event, run.state, *run.saga.definition))
        return fault(saga_errc::bad_history, std::string("cannot be read: ") + wrong);
      evolve(run.state, std::move(event), record.at, *run.saga.definition);
    }
  }
  return run;
}

}  // namespace aura::detail
