// The audit: what the journal says happened, against what the ledger says was done about it.
//
// It trusts no counter of the program: the journal's list of runs and the trace go into temporary tables beside the
// ledger's own, and each rule is a question in SQL that must find nothing.
#pragma once

#include "facts.hpp"
#include "ledger.hpp"
#include "trace.hpp"

#include <aura/sqlite/database.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gateway {

struct AuditRule {
  const char* promise;
  const char* breaches;  ///< gives the names of what breaks it
  bool at_the_end = false;
};

/// `runs`: of the journal. `trace`: what there should be. A run that an operator resolved by hand may differ from its
/// outcome in what the operator took upon himself.
inline constexpr AuditRule audit_rules[] = {
    {"every request has a run", "SELECT run FROM trace WHERE run NOT IN (SELECT run FROM runs)", true},
    {"every run has ended or waits for an operator", "SELECT run FROM runs WHERE open AND state <> 'stuck'", true},
    {"every run that waits for an operator has a dead letter",
     "SELECT run FROM runs WHERE state = 'stuck' AND run NOT IN (SELECT run FROM letters)"},
    {"every run is of a request", "SELECT run FROM runs WHERE run NOT IN (SELECT run FROM trace)"},
    {"nothing is in the ledger without a run",
     "SELECT run FROM (SELECT run FROM entries UNION SELECT run FROM reservations UNION SELECT run FROM deliveries)"
     " WHERE run NOT IN (SELECT run FROM runs)"},
    {"nobody is billed twice", "SELECT run FROM entries WHERE kind = 'bill' GROUP BY run HAVING count(*) > 1"},
    {"nobody is refunded twice", "SELECT run FROM entries WHERE kind = 'refund' GROUP BY run HAVING count(*) > 1"},
    {"what is refunded was billed",
     "SELECT run FROM entries AS e WHERE kind = 'refund' AND nano_usd <> coalesce("
     "(SELECT nano_usd FROM entries AS b WHERE b.run = e.run AND kind = 'bill'), -1)"},
    {"what is completed is billed, at its price",
     "SELECT run FROM runs JOIN trace USING (run) WHERE state = 'completed' AND NOT by_hand AND nano_usd <> "
     "(SELECT coalesce(sum(CASE kind WHEN 'bill' THEN nano_usd ELSE -nano_usd END), 0) FROM entries AS e"
     " WHERE e.run = runs.run)"},
    {"what went back costs nothing",
     "SELECT run FROM runs WHERE state IN ('compensated', 'failed') AND NOT by_hand AND 0 <> "
     "(SELECT coalesce(sum(CASE kind WHEN 'bill' THEN nano_usd ELSE -nano_usd END), 0) FROM entries AS e"
     " WHERE e.run = runs.run)"},
    {"nothing is delivered twice", "SELECT run FROM deliveries GROUP BY run HAVING count(*) > 1"},
    {"what is completed is delivered",
     "SELECT run FROM runs WHERE state = 'completed' AND NOT by_hand AND run NOT IN (SELECT run FROM deliveries)"},
    {"what went back is not delivered",
     "SELECT run FROM runs WHERE state IN ('compensated', 'failed') AND run IN (SELECT run FROM deliveries)"},
    {"quota is reserved once", "SELECT run FROM reservations GROUP BY run HAVING count(*) > 1"},
    {"quota is held by open runs only",
     "SELECT run FROM reservations JOIN runs USING (run) WHERE reservations.state = 'held' AND NOT open AND NOT "
     "by_hand"},
    {"what is completed has settled its quota",
     "SELECT run FROM runs JOIN trace USING (run) WHERE state = 'completed' AND NOT by_hand AND NOT EXISTS "
     "(SELECT * FROM reservations AS r WHERE r.run = runs.run AND r.state = 'settled' AND r.used = trace.tokens)"},
    {"what went back uses no quota",
     "SELECT run FROM reservations AS r JOIN runs USING (run) WHERE runs.state IN ('compensated', 'failed')"
     " AND r.state = 'settled'"},
    {"an account's reserved quota is the sum of what is held",
     "SELECT tenant FROM accounts AS a WHERE reserved <> (SELECT coalesce(sum(tokens), 0) FROM reservations AS r"
     " WHERE r.tenant = a.tenant AND r.state = 'held')"},
    {"an account's used quota is the sum of what was settled",
     "SELECT tenant FROM accounts AS a WHERE used <> (SELECT coalesce(sum(used), 0) FROM reservations AS r"
     " WHERE r.tenant = a.tenant AND r.state = 'settled')"},
    {"no account is overdrawn", "SELECT tenant FROM accounts WHERE reserved + used > quota OR reserved < 0"},
};

struct Audit {
  std::vector<std::string> faults;
  std::size_t runs = 0, settled_by_hand = 0;
  std::int64_t billed_nano_usd = 0;

  bool ok() const noexcept { return faults.empty(); }
};

namespace detail {

inline void fill_tables(aura::sqlite::Database& db, const Trace& trace, const Facts& facts) {
  const char* schema = R"sql(
    DROP TABLE IF EXISTS temp.runs; DROP TABLE IF EXISTS temp.trace; DROP TABLE IF EXISTS temp.letters;
    CREATE TEMP TABLE runs(run TEXT PRIMARY KEY, state TEXT, open INTEGER, by_hand INTEGER);
    CREATE TEMP TABLE trace(run TEXT PRIMARY KEY, nano_usd INTEGER, tokens INTEGER);
    CREATE TEMP TABLE letters(run TEXT);
    BEGIN;)sql";
  db.execute(schema, "auditing").value();
  auto add_run = db.prepare("INSERT INTO runs VALUES(?, ?, ?, ?)").value();
  auto add_request = db.prepare("INSERT INTO trace VALUES(?, ?, ?)").value();
  auto add_letter = db.prepare("INSERT INTO letters VALUES(?)").value();
  for (const RunFacts& run : facts.runs)
    add_run.run("auditing", run.run, run.state, run.open, facts.by_hand.contains(run.run)).value();
  for (const Arrival& arrival : trace.arrivals)
    add_request
        .run("auditing", run_of(arrival.row).str(), price_nano_usd(arrival.context_tokens, arrival.generated_tokens),
             std::int64_t{arrival.context_tokens} + arrival.generated_tokens)
        .value();
  for (const std::string& letter : facts.letters)
    add_letter.run("auditing", letter.substr(0, letter.find('/'))).value();
  db.execute("COMMIT", "auditing").value();
}

}  // namespace detail

/// Throws aura::ErrorException where the ledger cannot be read. `at_the_end`: everything should have been carried.
inline Audit audit(Ledger& ledger, const Trace& trace, const Facts& facts, bool at_the_end) {
  Audit found{.faults = {}, .runs = facts.runs.size(), .settled_by_hand = facts.by_hand.size()};
  aura::sqlite::Database& db = ledger.database();
  detail::fill_tables(db, trace, facts);
  for (const AuditRule& rule : audit_rules) {
    if (rule.at_the_end && !at_the_end) continue;
    std::size_t count = 0;
    std::string names;
    auto breaches = db.prepare(rule.breaches).value();
    const auto asked = breaches.each("auditing", [&](aura::sqlite::Row row) {
      if (++count <= 5) names += (count > 1 ? ", " : "") + std::string(row.text(0));
      return true;
    });
    asked.value();
    if (count > 0) found.faults.push_back(fmt::format("NOT TRUE: {}: {} ({} in all)", rule.promise, names, count));
  }
  found.billed_nano_usd =
      db.integer("SELECT sum(CASE kind WHEN 'bill' THEN nano_usd ELSE -nano_usd END) FROM entries", "auditing")
          .value();
  return found;
}

}  // namespace gateway
