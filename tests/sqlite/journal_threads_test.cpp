// Real threads, for the thread sanitizer: many commit, read, cancel and find at once, and the journal dies under them.
#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/journal_driver.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <memory>
#include <string>

namespace {

using namespace aura;  // NOLINT: a test
using namespace aura::test;  // NOLINT

/// A chain of appends to a stream of its own, on a strand of its own, each begun in the completion of the one before.
template <class Journal>
class Writer : public std::enable_shared_from_this<Writer<Journal>> {
 public:
  Writer(Journal& journal, boost::asio::any_io_executor executor, int number, int steps)
      : journal_(journal),
        strand_(boost::asio::make_strand(executor)),
        name_("s" + std::to_string(number)),
        left_(steps) {}

  void start() {
    boost::asio::dispatch(strand_, [self = this->shared_from_this()] { self->next(); });
  }

  static inline std::atomic<int> committed = 0, cancelled = 0, closed = 0, wrong = 0;

 private:
  void next() {
    if (left_-- == 0) return;
    Batch batch;
    batch.appends.push_back(version_ == 0 ? birth(name_, {record("1")}) : append(name_, version_, {record("x")}));
    journal_.commit(std::move(batch),
                    boost::asio::bind_cancellation_slot(
                        signal_.slot(), boost::asio::bind_executor(
                                            strand_, [self = this->shared_from_this()](const Result<void>& result) {
                                              self->done(result);
                                            })));
    if (left_ % 7 == 3) signal_.emit(boost::asio::cancellation_type::total);
  }

  void done(const Result<void>& result) {
    if (result) {
      ++version_;
      ++committed;
    } else if (result.error().is(core_errc::cancelled)) {
      ++cancelled;
    } else if (result.error().is(journal_errc::closed)) {
      ++closed;
      return;
    } else {
      ++wrong;
    }
    if (left_ % 5 != 0) return next();
    journal_.read(name_, 0, 1000,
                  boost::asio::bind_executor(strand_, [self = this->shared_from_this()](const auto& records) {
                    if (records && records->size() != self->version_) ++wrong;
                    if (!records || records->size() == self->version_) self->next();
                  }));
  }

  Journal& journal_;
  boost::asio::strand<boost::asio::any_io_executor> strand_;
  boost::asio::cancellation_signal signal_;
  std::string name_;
  int left_;
  std::uint64_t version_ = 0;
};

template <class Journal>
void contend(Journal& journal, boost::asio::any_io_executor executor, int writers, int steps) {
  using Each = Writer<Journal>;
  Each::committed = Each::cancelled = Each::closed = Each::wrong = 0;
  for (int i = 0; i < writers; ++i) std::make_shared<Each>(journal, executor, i, steps)->start();
}

}  // namespace

TEST_CASE("threads that commit, read and cancel at once see their own commits", "[threads]") {
  boost::asio::thread_pool handlers(3), blocking(2);
  AsioRuntime world(handlers.get_executor(), blocking.get_executor(), 1);
  TemporaryFolder folder;
  auto log = sqlite::SqliteJournal::open(world, {.path = folder.file("app.db")}).value();
  contend(*log, handlers.get_executor(), 12, 60);
  handlers.join();
  using Each = Writer<sqlite::SqliteJournal>;
  REQUIRE(Each::wrong == 0);
  REQUIRE(Each::committed + Each::cancelled == 12 * 60);
  REQUIRE(Each::committed > 0);
  log.reset();
  blocking.join();
}

TEST_CASE("a journal may be destroyed while its jobs run", "[threads]") {
  for (int round = 0; round < 10; ++round) {
    boost::asio::thread_pool handlers(2), blocking(2);
    AsioRuntime world(handlers.get_executor(), blocking.get_executor(), 1);
    TemporaryFolder folder;
    auto log = sqlite::SqliteJournal::open(world, {.path = folder.file("app.db")}).value();
    std::atomic<int> answers = 0;
    for (int i = 0; i < 200; ++i) {
      log->commit({{birth("s" + std::to_string(i), {record("1")})}, {}}, [&](const Result<void>&) { ++answers; });
      log->head("s0", [&](const Result<std::optional<StreamHead>>&) { ++answers; });
    }
    if (round % 2 == 0) log->async_close([&](const Result<void>&) { ++answers; });
    log.reset();
    handlers.join();
    blocking.join();
    REQUIRE(answers == (round % 2 == 0 ? 401 : 400));
  }
}

TEST_CASE("threads share a journal in memory", "[threads]") {
  boost::asio::thread_pool handlers(3);
  MemoryJournal log(handlers.get_executor());
  contend(log, handlers.get_executor(), 12, 500);
  handlers.join();
  REQUIRE(Writer<MemoryJournal>::wrong == 0);
  REQUIRE(Writer<MemoryJournal>::committed == 12 * 500);
}
