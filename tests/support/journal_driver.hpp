// A journal in virtual time, driven one operation at a time, and words to write its batches in.
#pragma once

#include "support/catch.hpp"

#include <aura/core/journal.hpp>
#include <aura/sim/runtime.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura::test {

struct ForeignTransaction : Transaction {};

inline Record record(std::string payload, std::int64_t at = 1) {
  Record made;
  made.type = "test";
  made.at = WallTime(Duration(at));
  made.payload = std::move(payload);
  return made;
}

inline Append append(std::string stream, std::uint64_t version, std::vector<Record> records) {
  Append made;
  made.stream = std::move(stream);
  made.expected_version = version;
  made.records = std::move(records);
  return made;
}

inline Append birth(std::string stream, std::vector<Record> records, std::string kind = "saga") {
  Append made = append(std::move(stream), 0, std::move(records));
  made.index = StreamIndex{"running", true, {}, {}};
  made.birth = StreamBirth{std::move(kind), {}};
  return made;
}

/// For REQUIRE: an unexpected error is printed.
template <class T>
bool ok(const Result<T>& result) {
  if (!result) UNSCOPED_INFO(to_string(result.error()));
  return result.has_value();
}

template <class T>
bool refused(const Result<T>& result, journal_errc code) {
  if (result) return false;
  INFO(to_string(result.error()));
  CHECK(!result.error().message().empty());
  return result.error().is(code);
}

/// Each call initiates, sees that nothing completed yet, runs the world until nothing is left, and gives the result.
template <class Host>
struct JournalDriver {
  Host host;

  JournalDriver() : JournalDriver(1) {}
  explicit JournalDriver(std::uint64_t seed) : host(seed) {}

  Result<void> commit(std::vector<Append> appends) { return commit(Batch{std::move(appends), {}}); }
  Result<void> commit(Batch batch) {
    return await<Result<void>>([&](auto handler) { host.journal().commit(std::move(batch), std::move(handler)); });
  }
  Result<std::vector<Record>> read(const std::string& stream, std::uint64_t from, std::size_t max) {
    return await<Result<std::vector<Record>>>(
        [&](auto handler) { host.journal().read(stream, from, max, std::move(handler)); });
  }
  Result<std::optional<StreamHead>> head(const std::string& stream) {
    return await<Result<std::optional<StreamHead>>>(
        [&](auto handler) { host.journal().head(stream, std::move(handler)); });
  }
  Result<StreamPage> find(const StreamQuery& query) {
    return await<Result<StreamPage>>([&](auto handler) { host.journal().find(query, std::move(handler)); });
  }
  Result<Lease> acquire(const HolderId& holder, std::int64_t ttl, std::int64_t now) {
    return await<Result<Lease>>([&](auto handler) {
      host.journal().acquire_lease(holder, Duration(ttl), WallTime(Duration(now)), std::move(handler));
    });
  }
  Result<Lease> renew(const Lease& lease, std::int64_t ttl, std::int64_t now) {
    return await<Result<Lease>>([&](auto handler) {
      host.journal().renew_lease(lease, Duration(ttl), WallTime(Duration(now)), std::move(handler));
    });
  }
  Result<void> release(const Lease& lease) {
    return await<Result<void>>([&](auto handler) { host.journal().release_lease(lease, std::move(handler)); });
  }
  Result<std::vector<ClaimedStream>> claim(const Lease& lease, std::vector<std::string> streams, std::int64_t now) {
    return await<Result<std::vector<ClaimedStream>>>([&](auto handler) {
      host.journal().claim(lease, std::move(streams), WallTime(Duration(now)), std::move(handler));
    });
  }
  Result<std::size_t> prune(const Retention& retention) {
    return await<Result<std::size_t>>([&](auto handler) { host.journal().prune(retention, std::move(handler)); });
  }

  /// The names of all pages.
  std::vector<std::string> names(StreamQuery query) {
    std::vector<std::string> found;
    do {
      const StreamPage page = find(query).value();
      for (const StreamHead& head : page.streams) found.push_back(head.stream);
      query.after = page.next;
    } while (!query.after.empty());
    return found;
  }

 private:
  template <class T, class Initiate>
  T await(Initiate initiate) {
    std::optional<T> result;
    int completions = 0;
    initiate([&](T outcome) {
      ++completions;
      result.emplace(std::move(outcome));
    });
    REQUIRE(completions == 0);
    host.world.run();
    REQUIRE(completions == 1);
    return std::move(*result);
  }
};

}  // namespace aura::test
