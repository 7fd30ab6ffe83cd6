// A journal as one would write it on a blackboard: a list of streams, looked through from end to end. The oracle of
// the contract's random test; it shares no code with any model.
#pragma once

#include <aura/core/journal.hpp>
#include <aura/core/random.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace aura::test {

struct BlackboardStream {
  StreamHead head;
  std::vector<Record> records;
  WallTime closed_at{};
};

/// Streams stand in the order of their births. Codes are compared, not texts: 0 stands for success.
class Blackboard {
 public:
  std::vector<BlackboardStream> streams;
  std::vector<Lease> leases;
  std::uint64_t tokens = 0;

  BlackboardStream* stream(const std::string& name) {
    for (BlackboardStream& each : streams)
      if (each.head.stream == name) return &each;
    return nullptr;
  }

  journal_errc commit(const Batch& batch) {
    const std::vector<BlackboardStream> before = streams;
    std::vector<std::string> open;  // a kind for each stream that was open, and for each that the batch opens
    for (const BlackboardStream& each : streams)
      if (each.head.open) open.push_back(each.head.kind);
    for (const Append& append : batch.appends) {
      const journal_errc code = apply(append, open);
      if (code == journal_errc{}) continue;
      streams = before;
      return code;
    }
    return {};
  }

  std::vector<StreamHead> find(const StreamQuery& query) const {
    std::vector<StreamHead> found;
    for (const BlackboardStream& each : streams) {
      const StreamHead& head = each.head;
      bool match = head.kind == query.kind && (!query.state || head.state == *query.state) &&
                   (!query.open || head.open == *query.open) &&
                   (!query.due_before || (head.due && *head.due <= *query.due_before));
      for (const auto& attribute : query.attributes)
        match = match && std::count(head.attributes.begin(), head.attributes.end(), attribute) == 1;
      if (match) found.push_back(head);
    }
    if (query.due_before)
      std::stable_sort(found.begin(), found.end(),
                       [](const StreamHead& a, const StreamHead& b) { return *a.due < *b.due; });
    return found;
  }

  Lease acquire(const HolderId& holder, Duration ttl, WallTime now) {
    std::erase_if(leases, [&](const Lease& lease) { return lease.holder == holder; });
    leases.push_back({holder, FencingToken{++tokens}, now + ttl});
    return leases.back();
  }

  Lease* current(const Lease& wanted) {
    for (Lease& lease : leases)
      if (lease.holder == wanted.holder && lease.token == wanted.token) return &lease;
    return nullptr;
  }

  std::vector<std::string> claimable(const Lease& lease, std::vector<std::string> names, WallTime now) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::erase_if(names, [&](const std::string& name) {
      const BlackboardStream* found = stream(name);
      if (found == nullptr || !found->head.open) return true;
      for (const Lease& other : leases)
        if (other.holder == found->head.holder && other.holder != lease.holder && other.expires > now) return true;
      return false;
    });
    return names;
  }

  std::size_t prune(const Retention& retention) {
    std::size_t removed = 0;
    for (; removed < retention.limit; ++removed) {
      BlackboardStream* oldest = nullptr;
      std::uint64_t closed = 0;
      for (BlackboardStream& each : streams) {
        if (each.head.open || each.head.kind != retention.kind) continue;
        ++closed;
        if (oldest == nullptr || each.closed_at < oldest->closed_at) oldest = &each;
      }
      if (oldest == nullptr) break;
      const bool too_many = retention.closed_kept_max && closed > *retention.closed_kept_max;
      const bool too_old = retention.closed_before && oldest->closed_at < *retention.closed_before;
      if (!too_many && !too_old) break;
      const std::string name = oldest->head.stream;
      std::erase_if(streams, [&](const BlackboardStream& each) { return each.head.stream == name; });
    }
    return removed;
  }

 private:
  journal_errc apply(const Append& append, std::vector<std::string>& open) {
    BlackboardStream* found = stream(append.stream);
    if (append.birth) {
      if (found != nullptr) return journal_errc::version_conflict;
      if (append.index->open) {
        const auto count = std::count(open.begin(), open.end(), append.birth->kind);
        if (static_cast<std::uint64_t>(count) >= append.birth->open_of_kind_max) return journal_errc::kind_full;
        open.push_back(append.birth->kind);
      }
      BlackboardStream fresh;
      fresh.head.stream = append.stream;
      fresh.head.kind = append.birth->kind;
      fresh.head.holder = append.birth->holder;
      fresh.head.token = append.token;
      fresh.head.created = append.records.front().at;
      found = &streams.emplace_back(fresh);
    } else {
      if (found == nullptr) return journal_errc::version_conflict;
      if (found->head.token != append.token) return journal_errc::fenced;
      if (found->head.version != append.expected_version) return journal_errc::version_conflict;
    }
    for (const Record& record : append.records) {
      found->records.push_back(record);
      found->head.updated = record.at;
      ++found->head.version;
    }
    if (append.index) index(*found, *append.index);
    return {};
  }

  static void index(BlackboardStream& stream, const StreamIndex& index) {
    if (!index.open && stream.head.open) stream.closed_at = stream.head.updated;
    stream.head.open = index.open;
    stream.head.state = index.state;
    stream.head.due = index.due;
    if (!index.attributes) return;
    stream.head.attributes = *index.attributes;
    std::sort(stream.head.attributes.begin(), stream.head.attributes.end());
  }
};

/// What the random test does, and in what proportion: few streams, and now and then a wrong version or token.
class RandomWork {
 public:
  explicit RandomWork(std::uint64_t seed) : dice_(Random::stream(seed, "work")) {}

  std::uint64_t below(std::uint64_t bound) { return dice_.below(bound); }
  bool rarely() { return dice_.below(12) == 0; }
  std::string name() { return "s" + std::to_string(dice_.below(9)); }
  std::string kind() { return dice_.below(3) == 0 ? "other" : "saga"; }
  HolderId holder() { return HolderId("h" + std::to_string(dice_.below(3))); }
  std::string state() { return dice_.below(2) == 0 ? "running" : "stuck"; }

  StreamIndex index() {
    StreamIndex made{state(), dice_.below(3) != 0, {}, {}};
    if (dice_.below(2) == 0) made.due = WallTime(Duration(static_cast<std::int64_t>(dice_.below(20)) - 5));
    if (dice_.below(2) == 0) made.attributes = attributes();
    return made;
  }

  Attributes attributes() {
    Attributes made;
    for (const char* name : {"b", "a"})
      if (dice_.below(2) == 0) made.emplace_back(name, std::to_string(dice_.below(2)));
    return made;
  }

  /// Mostly what would be taken, by what the model holds.
  Batch batch(Blackboard& model) {
    Batch made;
    std::vector<std::string> used;
    for (std::uint64_t left = 1 + dice_.below(3); left > 0; --left) {
      Append append;
      append.stream = name();
      if (std::count(used.begin(), used.end(), append.stream) != 0) continue;
      used.push_back(append.stream);
      fill(append, model.stream(append.stream));
      made.appends.push_back(std::move(append));
    }
    return made;
  }

  /// Closing times are all different, so that the oldest is one and not some.
  Record record() {
    Record made;
    made.type = "t" + std::to_string(dice_.below(3));
    made.at = WallTime(Duration(++clock_));
    made.payload.assign(dice_.below(30), static_cast<char>(dice_.below(256)));
    if (rarely()) made.encoding = "json";
    if (rarely()) made.trace.trace_id[0] = 1;
    return made;
  }

  Duration now() const { return Duration(clock_); }

 private:
  void fill(Append& append, const BlackboardStream* known) {
    const bool begins = rarely() ? known != nullptr : known == nullptr;
    for (std::uint64_t left = begins ? 1 + dice_.below(2) : dice_.below(3); left > 0; --left)
      append.records.push_back(record());
    if (begins) {
      append.birth = StreamBirth{kind(), dice_.below(2) == 0 ? HolderId() : holder()};
      if (dice_.below(3) == 0) append.birth->open_of_kind_max = dice_.below(5);
      append.token = FencingToken{dice_.below(4)};
      append.index = index();
      return;
    }
    append.expected_version = known != nullptr && !rarely() ? known->head.version : 1 + dice_.below(3);
    append.token = known != nullptr && !rarely() ? known->head.token : FencingToken{dice_.below(6)};
    if (dice_.below(2) == 0) append.index = index();
  }

  Random dice_;
  std::int64_t clock_ = 0;
};

inline journal_errc code_of(const Result<void>& result) {
  return result ? journal_errc{} : static_cast<journal_errc>(result.error().code());
}

/// Empty, or what was different first.
template <class Driver>
std::string compare_with_model(Driver& log, std::uint64_t seed, int steps) {
  Blackboard model;
  RandomWork work(seed);
  std::vector<Lease> known;
  const auto any_lease = [&] {
    return known.empty() ? Lease{work.holder(), {}, {}} : known[work.below(known.size())];
  };
  for (int step = 0; step < steps; ++step) {
    const std::string where = "step " + std::to_string(step) + ": ";
    const WallTime now(work.now());
    switch (work.below(10)) {
      case 0: {
        const HolderId holder = work.holder();
        const Duration ttl(static_cast<std::int64_t>(work.below(20)));
        const Lease expected = model.acquire(holder, ttl, now);
        const auto lease = log.acquire(holder, ttl.count(), work.now().count());
        if (!lease || *lease != expected) return where + "acquire";
        known.push_back(*lease);
        break;
      }
      case 1: {
        const Lease lease = any_lease();
        Lease* held = model.current(lease);
        const bool release = work.below(2) == 0;
        const Duration ttl(static_cast<std::int64_t>(work.below(20)));
        const bool done =
            release ? log.release(lease).has_value() : log.renew(lease, ttl.count(), work.now().count()).has_value();
        if (done != (held != nullptr)) return where + "renew or release";
        if (held != nullptr && !release) held->expires = now + ttl;
        if (held != nullptr && release) std::erase(model.leases, Lease(*held));
        break;
      }
      case 2: {
        const Lease lease = any_lease();
        const std::vector<std::string> names{work.name(), work.name(), work.name(), "unknown"};
        const auto claimed = log.claim(lease, names, work.now().count());
        if (claimed.has_value() != (model.current(lease) != nullptr)) return where + "claim";
        if (!claimed) break;
        std::vector<std::string> got;
        for (const ClaimedStream& entry : *claimed) {
          got.push_back(entry.stream);
          BlackboardStream* stream = model.stream(entry.stream);
          if (stream == nullptr || entry.version != stream->head.version) return where + "claimed version";
          if (entry.token <= stream->head.token || entry.token <= FencingToken{model.tokens})
            return where + "claimed token";
        }
        if (got != model.claimable(lease, names, now)) return where + "claimed streams";
        for (const ClaimedStream& entry : *claimed) {
          model.tokens = static_cast<std::uint64_t>(entry.token);
          model.stream(entry.stream)->head.token = entry.token;
          model.stream(entry.stream)->head.holder = lease.holder;
        }
        break;
      }
      case 3: {
        Retention retention{work.kind(), {}, {}, 1 + work.below(3)};
        if (work.below(2) == 0) retention.closed_before = WallTime(work.now() - Duration(5));
        if (work.below(3) == 0) retention.closed_kept_max = work.below(3);
        const auto pruned = log.prune(retention);
        if (!pruned || *pruned != model.prune(retention)) return where + "prune";
        break;
      }
      case 4: {
        StreamQuery query{.kind = work.kind(), .limit = 1 + work.below(4)};
        if (work.below(3) == 0) query.state = work.state();
        if (work.below(3) == 0) query.open = work.below(2) == 0;
        if (work.below(3) == 0) query.due_before = WallTime(Duration(static_cast<std::int64_t>(work.below(20))));
        if (work.below(3) == 0) query.attributes = work.attributes();
        std::vector<StreamHead> found;
        do {
          const auto page = log.find(query);
          if (!page) return where + "find failed";
          found.insert(found.end(), page->streams.begin(), page->streams.end());
          query.after = page->next;
        } while (!query.after.empty());
        if (found != model.find(query)) return where + "find";
        break;
      }
      default: {
        const Batch batch = work.batch(model);
        const Result<void> done = log.commit(batch);
        const journal_errc expected = model.commit(batch);
        if (code_of(done) != expected) return where + "commit: " + (done ? "taken" : to_string(done.error()));
      }
    }
    const std::string name = work.name();
    const BlackboardStream* stream = model.stream(name);
    const auto head = log.head(name);
    if (!head || *head != (stream != nullptr ? std::optional(stream->head) : std::nullopt)) return where + "head";
    const auto records = log.read(name, 0, 1000);
    if (!records || *records != (stream != nullptr ? stream->records : std::vector<Record>()))
      return where + "records";
  }
  return "";
}

}  // namespace aura::test
