// The journal in a SQLite file: one writer, group commit, and nobody told before the sync.
#pragma once

#include <aura/core/runtime.hpp>
#include <aura/durable/detail/completion.hpp>
#include <aura/sqlite/detail/lane.hpp>
#include <aura/sqlite/detail/reader.hpp>
#include <aura/sqlite/detail/writer.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/async_result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace aura::sqlite {

struct SqliteJournalOptions {
  std::string path{};                         ///< created where it is missing; its directory must be there
  std::string vfs{};                          ///< empty: SQLite's default
  std::chrono::milliseconds busy_timeout{5000};  ///< how long a write waits for that of another process
  std::size_t waiting_max = 65'536;              ///< operations that wait, of each sort (writes, reads)
  std::size_t waiting_bytes_max = std::size_t{256} << 20;  ///< payloads that wait to be written
  std::size_t heads_cached_max = 65'536;         ///< streams that the writer remembers, about 250 bytes each
  /// How many pages of 4 KiB the log takes before a commit puts them into the database, which takes that commit longer.
  std::uint32_t checkpoint_pages = 1000;
  bool check_on_open = false;  ///< reads the whole file and compares its tables with its indexes
};

/// What has happened so far. `commits / transactions` says how well commits are grouped.
struct SqliteJournalStats {
  std::uint64_t writes = 0;  ///< operations that write: commits, leases, claims, prunes
  std::uint64_t transactions = 0;  ///< each has one sync
  std::uint64_t reads = 0;
};

/// Models `journal`. May be shared between threads.
///
/// Writes wait in a bounded queue; a job on the blocking executor takes all that wait and runs them in one transaction
/// with one sync (WAL, synchronous=FULL), while the next ones gather. One that waits alone is not delayed; after a group
/// of many, what their handlers commit next is taken into one group, and written while the last of them still run. Each
/// batch is checked before any of it is written, so a refused batch harms no other of its group; a failure of the storage
/// (`full`, `io`, …) undoes the group and every caller is told, and the journal serves on once the storage does. Reads
/// have a connection of their own, see every commit that was acknowledged before, and go on beside a write where the
/// blocking executor has a second thread.
///
/// Handlers run on their associated executor, by default the runtime's, and never inside an initiation. An operation
/// that still waits can be cancelled by any type of cancellation and then has not begun (core_errc::cancelled); later it
/// completes as if there had been none. As everywhere in Asio, the slot may be signalled only where the handler runs.
///
/// Several processes may share a file: each waits for the other's transaction up to `busy_timeout`, then gives `locked`.
/// The tables begin with aura_journal_; the host may keep tables of its own in the file (see `sqlite::effect`), and must
/// leave `application_id` and `user_version` alone.
///
/// Destroying it without `async_close` loses nothing durable: what is being written completes as it would have, what
/// still waits completes with `closed`. The last of its jobs closes the file.
class SqliteJournal {
 public:
  using Options = SqliteJournalOptions;

  /// Blocks on the disk, so it is for start-up, or for a job on the blocking executor. The contexts of the runtime's
  /// executors must outlive the journal and its jobs. Errors name the file: io (no such directory), read_only, corrupt
  /// (no database, damaged, another program's), newer_format, locked, full.
  static Result<std::unique_ptr<SqliteJournal>> open(AnyRuntime world, Options options) {
    DatabaseOptions file{options.path, options.vfs, true, options.busy_timeout};
    auto writer =
        detail::Writer::open(file, {options.heads_cached_max, options.checkpoint_pages, options.check_on_open});
    if (!writer) return writer.error();
    file.create = false;
    auto reading = Database::open(file);
    if (!reading) return reading.error();
    if (auto ready = reading->execute("PRAGMA query_only=ON", "setting up the connection"); !ready)
      return ready.error();
    auto reader = detail::Reader::open(std::move(*reading));
    if (!reader) return reader.error();
    return std::unique_ptr<SqliteJournal>(new SqliteJournal(world, options, std::move(*writer), std::move(*reader)));
  }

  ~SqliteJournal() {
    reads_->abandon();
    writes_->abandon();
  }
  SqliteJournal(const SqliteJournal&) = delete;
  SqliteJournal& operator=(const SqliteJournal&) = delete;

  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto commit(Batch batch, Token&& token) {
    return initiate<void>(
        *writes_, token, [](Batch& taken) { return aura::detail::check_batch(taken); },
        [](Writer& writer, Batch& taken) { return writer.appender.commit(taken); }, std::move(batch));
  }

  template <boost::asio::completion_token_for<void(Result<std::vector<Record>>)> Token>
  auto read(std::string stream, std::uint64_t from_version, std::size_t max, Token&& token) {
    return initiate<std::vector<Record>>(
        *reads_, token, no_check,
        [from_version, max](Reader& reader, const std::string& name) { return reader.read(name, from_version, max); },
        std::move(stream));
  }

  template <boost::asio::completion_token_for<void(Result<std::optional<StreamHead>>)> Token>
  auto head(std::string stream, Token&& token) {
    return initiate<std::optional<StreamHead>>(
        *reads_, token, no_check, [](Reader& reader, const std::string& name) { return reader.head(name); },
        std::move(stream));
  }

  template <boost::asio::completion_token_for<void(Result<StreamPage>)> Token>
  auto find(StreamQuery query, Token&& token) {
    return initiate<StreamPage>(
        *reads_, token, [](const StreamQuery& wanted) { return aura::detail::check_kind(wanted.kind); },
        [](Reader& reader, const StreamQuery& wanted) { return reader.find(wanted); }, std::move(query));
  }

  template <boost::asio::completion_token_for<void(Result<Lease>)> Token>
  auto acquire_lease(HolderId holder, Duration ttl, WallTime now, Token&& token) {
    return initiate<Lease>(
        *writes_, token, [](const HolderId& name) { return aura::detail::check_holder(name); },
        [ttl, now](Writer& writer, const HolderId& name) { return writer.leases.acquire(name, ttl, now); },
        std::move(holder));
  }

  template <boost::asio::completion_token_for<void(Result<Lease>)> Token>
  auto renew_lease(Lease lease, Duration ttl, WallTime now, Token&& token) {
    return initiate<Lease>(
        *writes_, token, no_check,
        [ttl, now](Writer& writer, const Lease& held) { return writer.leases.renew(held, ttl, now); },
        std::move(lease));
  }

  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto release_lease(Lease lease, Token&& token) {
    return initiate<void>(
        *writes_, token, no_check, [](Writer& writer, const Lease& held) { return writer.leases.release(held); },
        std::move(lease));
  }

  template <boost::asio::completion_token_for<void(Result<std::vector<ClaimedStream>>)> Token>
  auto claim(Lease lease, std::vector<std::string> streams, WallTime now, Token&& token) {
    return initiate<std::vector<ClaimedStream>>(
        *writes_, token, [](const Claim& wanted) { return aura::detail::check_claim(wanted.lease, wanted.streams); },
        [now](Writer& writer, Claim& wanted) { return writer.leases.claim(wanted.lease, wanted.streams, now); },
        Claim{std::move(lease), std::move(streams)});
  }

  template <boost::asio::completion_token_for<void(Result<std::size_t>)> Token>
  auto prune(Retention retention, Token&& token) {
    return initiate<std::size_t>(
        *writes_, token, [](const Retention& rule) { return aura::detail::check_kind(rule.kind); },
        [](Writer& writer, const Retention& rule) { return writer.pruner.prune(rule); }, std::move(retention));
  }

  /// Takes nothing more (`closed`), finishes what waits, and closes the file on the blocking executor.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto async_close(Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<void>)>(
        [this](auto handler) {
          auto closing = operation<void, Writer>(std::move(handler), [](Writer&) { return Result<void>(); });
          writes_->stop();
          reads_->close([executor = executor_, writes = writes_, closing] {
            writes->close([executor, closing] {
              closing->set_result({});
              detail::post_deliveries<Writer>(executor, {closing});
            });
          });
        },
        token);
  }

  SqliteJournalStats stats() const noexcept {
    return {writes_->operations(), writes_->groups(), reads_->operations()};
  }

 private:
  using Writer = detail::Writer;
  using Reader = detail::Reader;
  struct Claim {
    Lease lease;
    std::vector<std::string> streams;
  };
  static constexpr auto no_check = [](const auto&) { return Result<void>(); };

  SqliteJournal(AnyRuntime world, const Options& options, std::unique_ptr<Writer> writer,
                std::unique_ptr<Reader> reader)
      : executor_(world.executor()),
        writes_(std::make_shared<detail::Lane<Writer>>(executor_, world.blocking_executor(), std::move(writer),
                                                       lane_options(options, true))),
        reads_(std::make_shared<detail::Lane<Reader>>(executor_, world.blocking_executor(), std::move(reader),
                                                      lane_options(options, false))) {}

  static detail::LaneOptions lane_options(const Options& options, bool gathers) {
    return {options.waiting_max, options.waiting_bytes_max, gathers};
  }

  template <class T, class Machine, class Handler, class Work>
  auto operation(Handler handler, Work work) {
    return std::make_shared<detail::OperationOf<Machine, T, Work>>(executor_, std::move(handler), std::move(work));
  }

  /// Checks the argument at once, then lets `work(machine, argument)` wait for its turn.
  template <class T, class Machine, class Token, class Check, class Work, class Argument>
  auto initiate(detail::Lane<Machine>& lane, Token& token, Check check, Work work, Argument argument) {
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [this, &lane](auto handler, Check sound, Work todo, Argument taken) {
          if (auto checked = sound(taken); !checked)
            return aura::detail::post_completion(executor_, std::move(handler), Result<T>(checked.error()));
          const std::size_t bytes = bytes_of(taken);
          auto waiting =
              operation<T, Machine>(std::move(handler),
                                    [todo = std::move(todo), taken = std::move(taken)](
                                        Machine& machine) mutable -> Result<T> { return todo(machine, taken); });
          waiting->bytes = bytes;
          waiting->connect_slot();
          lane.submit(std::move(waiting));
        },
        token, std::move(check), std::move(work), std::move(argument));
  }

  static std::size_t bytes_of(const auto&) noexcept { return 0; }
  static std::size_t bytes_of(const Batch& batch) noexcept {
    std::size_t bytes = 0;
    for (const Append& append : batch.appends)
      for (const Record& record : append.records) bytes += record.payload.size();
    return bytes;
  }

  boost::asio::any_io_executor executor_;
  std::shared_ptr<detail::Lane<Writer>> writes_;
  std::shared_ptr<detail::Lane<Reader>> reads_;
};

}  // namespace aura::sqlite
