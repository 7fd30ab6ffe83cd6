// Leases, tokens and claims, in the writer's transaction.
#pragma once

#include <aura/sqlite/detail/appender.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

class LeaseTable {
 public:
  LeaseTable(Session& session, Appender& streams) : session_(session), streams_(streams) {}

  Result<void> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&next_token_,
         "UPDATE aura_journal_counters SET value = max(value, ?) + 1 WHERE name = 'token' RETURNING value"},
        {&forget_, "DELETE FROM aura_journal_leases WHERE expires < ?"},
        {&put_, "INSERT OR REPLACE INTO aura_journal_leases(holder, token, expires) VALUES(?, ?, ?)"},
        {&get_, "SELECT token, expires FROM aura_journal_leases WHERE holder = ?"},
        {&remove_, "DELETE FROM aura_journal_leases WHERE holder = ?"},
        {&holder_of_, "SELECT holder FROM aura_journal_streams WHERE id = ?"},
        {&hand_over_, "UPDATE aura_journal_streams SET holder = ?, token = ? WHERE id = ?"},
    };
    for (const auto& [statement, sql] : all) {
      auto prepared = session_.db().prepare(sql);
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return {};
  }

  Result<Lease> acquire(const HolderId& holder, Duration ttl, WallTime now) {
    const WallTime forgotten = saturating_add(now, -aura::detail::lease_forgotten_after);
    if (auto done = session_.run(forget_, "acquiring a lease", ticks(forgotten)); !done) return done.error();
    const auto token = next_token(0);
    if (!token) return token.error();
    return store(Lease{holder, *token, saturating_add(now, ttl)});
  }

  Result<Lease> renew(const Lease& lease, Duration ttl, WallTime now) {
    if (auto held = check(lease); !held) return held.error();
    return store(Lease{lease.holder, lease.token, saturating_add(now, ttl)});
  }

  Result<void> release(const Lease& lease) {
    if (auto held = check(lease); !held) return held;
    return session_.run(remove_, "releasing a lease", lease.holder.str());
  }

  Result<std::vector<ClaimedStream>> claim(const Lease& lease, std::vector<std::string>& names, WallTime now) {
    if (auto held = check(lease); !held) return held.error();
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<ClaimedStream> claimed;
    std::uint64_t largest = 0;
    Liveness alive;
    for (std::string& name : names) {
      const auto head = claimable(name, lease, now, alive);
      if (!head) return head.error();
      if (*head == nullptr) continue;
      largest = std::max(largest, static_cast<std::uint64_t>((*head)->token));
      claimed.push_back({std::move(name), {}, (*head)->version});
    }
    if (claimed.empty()) return claimed;
    return hand_over(lease, std::move(claimed), largest);
  }

 private:
  using Liveness = std::map<std::string, bool, std::less<>>;  ///< by holder: its lease has not run out

  Result<FencingToken> next_token(std::uint64_t above) {
    std::uint64_t token = 0;
    const auto counted = session_.each(
        next_token_, "drawing a token",
        [&](Row row) {
          token = static_cast<std::uint64_t>(row.integer(0));
          return true;
        },
        above);
    if (!counted) return counted.error();
    if (token == 0) return session_.corrupt("the counter of tokens is gone");
    return FencingToken{token};
  }

  Result<Lease> store(Lease lease) {
    auto stored = session_.run(put_, "writing a lease", lease.holder.str(), static_cast<std::uint64_t>(lease.token),
                               ticks(lease.expires));
    if (!stored) return stored.error();
    return lease;
  }

  /// lease_lost where the lease is not the holder's current one.
  Result<void> check(const Lease& lease) {
    bool current = false;
    const auto read = session_.each(
        get_, "reading a lease",
        [&](Row row) {
          current = static_cast<std::uint64_t>(row.integer(0)) == static_cast<std::uint64_t>(lease.token);
          return false;
        },
        lease.holder.str());
    if (!read) return read;
    if (!current) return aura::detail::lease_lost(lease.holder);
    return {};
  }

  Result<bool> alive(const std::string& holder, WallTime now, Liveness& known) {
    const auto [entry, fresh] = known.try_emplace(holder, false);
    if (!fresh) return entry->second;
    const auto read = session_.each(
        get_, "reading a lease",
        [&](Row row) {
          entry->second = row.integer(1) > ticks(now);
          return false;
        },
        holder);
    if (!read) return read.error();
    return entry->second;
  }

  /// Null where the stream cannot be claimed.
  Result<CachedHead*> claimable(const std::string& name, const Lease& lease, WallTime now, Liveness& known) {
    const auto head = streams_.find(name);
    if (!head || *head == nullptr || !(*head)->open) return head ? nullptr : head;
    std::string holder;
    const auto read = session_.each(
        holder_of_, "reading a stream's holder",
        [&](Row row) {
          holder = row.text(0);
          return false;
        },
        (*head)->id);
    if (!read) return read.error();
    if (holder.empty() || holder == lease.holder.str()) return head;
    const auto held = alive(holder, now, known);
    if (!held) return held.error();
    return *held ? nullptr : *head;
  }

  Result<std::vector<ClaimedStream>> hand_over(const Lease& lease, std::vector<ClaimedStream> claimed,
                                               std::uint64_t largest) {
    const auto token = next_token(largest);
    if (!token) return token.error();
    for (ClaimedStream& entry : claimed) {
      const auto head = streams_.find(entry.stream);
      if (!head) return head.error();
      auto written = session_.run(hand_over_, "claiming a stream", lease.holder.str(),
                                  static_cast<std::uint64_t>(*token), (*head)->id);
      if (!written) return written.error();
      entry.token = (*head)->token = *token;
    }
    return claimed;
  }

  Session& session_;
  Appender& streams_;
  Statement next_token_, forget_, put_, get_, remove_, holder_of_, hand_over_;
};

}  // namespace aura::sqlite::detail
