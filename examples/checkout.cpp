// A saga in ten lines, and everything it takes to run it: an order that is carried through, and one that is taken back.
//
// It keeps its journal in memory. For one that survives the process, replace aura::MemoryJournal by
// aura::sqlite::SqliteJournal and link aura::sqlite; for steps that talk to others, return boost::asio::awaitable<T>.
#include <aura/core/asio_runtime.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga_runner.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include <optional>
#include <string>

namespace asio = boost::asio;

struct Order {
  std::string item;
  int cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, item, cents)

// Actions take the saga's input and the results of the steps they come after. Their return values are kept in the
// journal. Here they only print; in a service they call another one, with the context's idempotency key.

std::string reserve(const Order& order) {
  fmt::print("  reserve a {}\n", order.item);
  return "shelf 7";
}
void release(const Order&, std::optional<std::string> shelf) { fmt::print("  give {} back\n", shelf.value_or("it")); }

aura::Result<int> charge(const Order& order, const std::string&, aura::StepContext& step) {
  fmt::print("  charge {} cents with key {}\n", order.cents, step.idempotency_key());
  return order.cents;
}
void refund(const Order&, std::optional<int> cents) { fmt::print("  refund {} cents\n", cents.value_or(0)); }

aura::Result<void> ship(const Order& order, int) {
  if (order.item == "piano") return aura::Error{"shop", 1, aura::ErrorClass::permanent, "no van is large enough"};
  fmt::print("  ship it\n");
  return {};
}
void notify(const Order& order) { fmt::print("  tell the customer that the {} is on its way\n", order.item); }

auto make_checkout() {
  return aura::Saga{"checkout",
                    aura::version{1},
                    aura::step<"reserve">(reserve).undo(release),
                    aura::step<"charge">(charge).undo(refund).after<"reserve">(),
                    aura::step<"ship">(ship).after<"charge">().pivot(),
                    aura::step<"notify">(notify).after<"ship">().retriable()};
}

asio::awaitable<void> shop(aura::AnyRuntime world, aura::MemoryJournal& journal) {
  const auto checkout = make_checkout();
  aura::SagaRunnerOptions options;
  options.holder = aura::HolderId{"checkout-service"};
  aura::SagaRunner runner(world, journal, options);
  runner.add(checkout).value();
  aura::Result<aura::SagaRecovery> recovered = co_await runner.recover(asio::use_awaitable);
  recovered.value();  // what a process before this one left open goes on now

  for (const char* item : {"violin", "piano"}) {
    const aura::RunId run{std::string("order-") + item};
    const Order order{item, 99'000};
    fmt::print("{}\n", run.str());
    aura::Result<aura::SagaReport> report = co_await runner.run(checkout, run, order, asio::use_awaitable);
    fmt::print("{}: {}{}\n", run.str(), to_string(report.value().outcome),
               report->failure ? ", because " + std::string(report->failure->message()) : "");
  }
  aura::Result<void> drained = co_await runner.drain(std::chrono::seconds(1), asio::use_awaitable);
  drained.value();
}

int main() {
  asio::io_context handlers;  // the host's own
  asio::thread_pool disk(1);  // for what blocks
  aura::AsioRuntime world(handlers.get_executor(), disk.get_executor());
  aura::MemoryJournal journal(world);
  asio::co_spawn(handlers, shop(world, journal), [](std::exception_ptr fault) {
    if (fault) std::rethrow_exception(fault);
  });
  handlers.run();
}
