// The operator's view of a journal: blocking calls that return values, which is all that a small tool needs.
#pragma once

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/dead_letter_queue.hpp>
#include <aura/durable/saga_command.hpp>
#include <aura/durable/saga_record.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace operating {

/// Throws aura::ErrorException with the journal's own line. Other processes may have the journal open meanwhile.
class Desk {
 public:
  explicit Desk(const std::string& path) : world_(handlers_.get_executor(), disk_.get_executor()) {
    if (!std::filesystem::exists(path))  // the library would make one
      throw std::runtime_error("there is no journal " + path);
    journal_ = aura::sqlite::SqliteJournal::open(world_, {.path = path}).value();
  }
  ~Desk() {
    journal_.reset();
    disk_.join();
    handlers_.join();
  }

  aura::WallTime now() const { return world_.wall_now(); }

  /// At most `limit`, in order of the name.
  std::vector<aura::StreamHead> find(aura::StreamQuery query, std::size_t limit) {
    std::vector<aura::StreamHead> found;
    do {
      query.limit = std::min<std::size_t>(limit - found.size(), 10'000);
      aura::StreamPage page = ask<aura::StreamPage>([&](auto token) { return journal_->find(query, token); });
      for (aura::StreamHead& head : page.streams) found.push_back(std::move(head));
      query.after = page.next;
    } while (!query.after.empty() && found.size() < limit);
    return found;
  }

  std::optional<aura::StreamHead> head(const std::string& stream) {
    return ask<std::optional<aura::StreamHead>>([&](auto token) { return journal_->head(stream, token); });
  }

  std::vector<aura::Record> history(const std::string& stream) {
    std::vector<aura::Record> records;
    for (;;) {
      auto page = ask<std::vector<aura::Record>>(
          [&](auto token) { return journal_->read(stream, records.size(), 1000, token); });
      if (page.empty()) return records;
      for (aura::Record& record : page) records.push_back(std::move(record));
    }
  }

  std::vector<aura::DeadLetterEntry> letters(std::size_t limit) {
    aura::DeadLetterFilter filter;
    std::vector<aura::DeadLetterEntry> all;
    do {
      filter.limit = std::min<std::size_t>(limit - all.size(), 100);
      auto page = ask<aura::DeadLetterPage>([&](auto token) { return queue_().list(filter, token); });
      for (auto& entry : page.letters) all.push_back(std::move(entry));
      filter.after = page.next;
    } while (!filter.after.empty() && all.size() < limit);
    return all;
  }

  /// Leaves a command for whoever drives the run. The same command twice is one command, while the first is waiting.
  void leave(const aura::SagaCommand& command) {
    const std::string id = command.run.str() + "/" + std::to_string(now().time_since_epoch().count());
    ask<void>([&](auto token) { return journal_->commit(aura::leave_saga_command(command, id, now()), token); });
  }

 private:
  aura::DeadLetterQueue<aura::sqlite::SqliteJournal> queue_() { return {world_, *journal_}; }

  template <class T, class Start>
  T ask(Start start) {
    std::future<aura::Result<T>> answer = start(boost::asio::use_future);
    return answer.get().value();
  }

  boost::asio::thread_pool handlers_{1}, disk_{1};
  aura::AsioRuntime world_;
  std::unique_ptr<aura::sqlite::SqliteJournal> journal_;
};

}  // namespace operating
