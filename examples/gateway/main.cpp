// A gateway for LLM inference whose requests survive the gateway.
//
//   examples/run                                    # an hour of traffic, in virtual time, in a few seconds
//   kill -9 it, and run it again: it goes on         # as often as you like; the audit at the end still holds
//   examples/run gateway --trace FILE --state DIR   # a trace of your own, say of the Azure Public Dataset
//   examples/run gateway --real-time --speed 60     # on a thread pool: an hour in a minute
//   examples/run gateway --fresh --faults outage    # two workers die for a while: watch the breakers
//   examples/run gateway --fresh --load 60          # far too much: watch the scheduler against round robin
//
// Each request is a saga (saga.hpp) of six steps. Its progress is in a journal, DIR/journal.db; quota and bills are in
// a ledger, DIR/ledger.db, that stands for another team's service and knows nothing of sagas but an idempotency key
// (ledger.hpp). Requests come in through a router (intake.hpp), workers and ledger stand behind circuit breakers (guards.hpp).
// A scheduler places them on workers of uneven speed and memory (workers.hpp). The workers are a model (worker_shape.hpp)
// and their faults follow from --seed (request.hpp, scenario.hpp). Outcomes and audit are computed from journal and ledger
// alone (report.hpp, audit.hpp), so they are right whatever happened.
//
// To make it your own: replace what the steps do, in saga.hpp, and the arrival of requests, in gateway.hpp.

// g++ 12 believes at -O1 that the frames of Asio's coroutines are freed by the wrong function; they are not.
#if defined(__GNUC__) && __GNUC__ == 12 && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

#include "gateway.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <exception>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace gateway;

/// What the coroutine ended with.
struct Ending {
  int status = 1;
  std::exception_ptr thrown;

  auto handler() {
    return [this](std::exception_ptr fault, int result) {
      thrown = fault;
      status = fault ? 1 : result;
    };
  }
  int result() const {
    if (thrown) std::rethrow_exception(thrown);
    return status;
  }
};

/// One thread; an hour passes in seconds. A disk takes two milliseconds of virtual time, so that what commits within
/// them shares a sync, as it would on a machine under load.
int run_virtually(const Session& session) {
  aura::sim::Runtime world({.seed = session.options.seed, .wall_start = session.trace.arrivals.front().at});
  world.set_blocking_latency(std::chrono::milliseconds(2));
  Ending ending;
  asio::co_spawn(world, run(session, world, [&](aura::WallTime latest) { world.set_wall(latest); }),
                 ending.handler());
  world.run();
  return ending.result();
}

/// As a service would: some threads for handlers, and a pool of others for what blocks on the disk.
int run_in_real_time(const Session& session) {
  asio::io_context handlers;
  asio::thread_pool disk(4);
  aura::AsioRuntime world(handlers.get_executor(), disk.get_executor(), session.options.seed);
  Ending ending;
  asio::co_spawn(asio::make_strand(handlers), run(session, world, [](aura::WallTime) {}), ending.handler());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { handlers.run(); });
  threads.clear();  // joins
  disk.join();
  return ending.result();
}

/// The sample lies beside this file. The build says where that is: a compiler may be told to hide it in __FILE__.
std::string sample() { return AURA_GATEWAY_FOLDER "/sample.csv"; }

int fail(int status, std::string_view message) {
  fmt::print(stderr, "gateway: {}\n", message);
  return status;
}

int run_with(Options options) {
  if (options.trace.empty()) options.trace = sample();
  const auto trace = read_trace(options.trace, options.requests);  // before anything is touched
  if (!trace) return fail(2, trace.error().message());
  const auto state = StateDirectory::open(options.state);
  if (!state) return fail(state.error().is(state_errc::in_use) ? 3 : 1, state.error().message());
  if (options.fresh) state->erase().value();

  const auto opened = Ledger::open(state->ledger());
  Ledger& ledger = *opened.value();
  const std::string settings = settings_text(options, trace->arrivals.size(), trace->fingerprint);
  if (auto same = settle_settings(ledger, *state, settings); !same)
    return fail(same.error().is(state_errc::other_settings) ? 2 : 1, same.error().message());

  const Session session{options, *trace, *state, ledger};
  fmt::print("{} requests of {} from {} on, seed {}; state in {}\n", trace->arrivals.size(),
             std::filesystem::path(options.trace).filename().string(), clock_text(trace->arrivals.front().at),
             options.seed, options.state.string());
  std::fflush(stdout);
  open_accounts(session).value();
  return options.real_time ? run_in_real_time(session) : run_virtually(session);
}

}  // namespace

int main(int argc, char** argv) try {
  const auto options = parse_options(argc, argv);
  if (!options) return fail(2, options.error().message());
  if (options->help) return fmt::print("{}", usage), 0;
  return run_with(*options);
} catch (const std::exception& fault) {
  return fail(1, fault.what());
}
