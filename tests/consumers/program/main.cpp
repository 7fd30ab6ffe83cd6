// A host's first program with AURA: one order, carried by a saga.
#include <aura/core/asio_runtime.hpp>
#include <aura/core/version.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga.hpp>
#include <aura/durable/saga_runner.hpp>

#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/core.h>

#include <future>

int main() {
  boost::asio::thread_pool threads(1);
  boost::asio::thread_pool disk(1);
  aura::AsioRuntime runtime(threads.get_executor(), disk.get_executor());
  aura::MemoryJournal journal(runtime);

  const aura::Saga doubling{"doubling", aura::version{1}, aura::step<"double">([](const int& x) { return 2 * x; }).pure()};
  aura::SagaRunner runner(runtime, journal, {.holder = aura::HolderId{"host"}});
  if (!runner.add(doubling)) return 1;
  if (!runner.recover(boost::asio::use_future).get()) return 2;
  const auto report = runner.run(doubling, aura::RunId{"run-1"}, 21, boost::asio::use_future).get();
  if (!report || !report->completed()) return 3;

  fmt::print("AURA {}: {}\n", aura::library_version, doubling.result<"double">(*report).value());
  if (!runner.drain(aura::Duration{}, boost::asio::use_future).get()) return 4;
}
