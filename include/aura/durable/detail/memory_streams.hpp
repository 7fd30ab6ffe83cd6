// The streams of a `MemoryJournal`: what a journal does, without waiting, locking or disk.
#pragma once

#include <aura/durable/detail/journal_rules.hpp>
#include <aura/durable/detail/lazy_index.hpp>
#include <aura/durable/detail/packed_records.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace aura::detail {

struct MemoryKind;

struct MemoryStream {
  const std::string* name = nullptr;  ///< the key of the map it stands in
  MemoryKind* kind = nullptr;
  std::string state;
  HolderId holder;
  Attributes attributes;
  PackedRecords records;
  FencingToken token{};
  std::optional<WallTime> due;
  WallTime closed_at{};
  std::int64_t number = 0;  ///< in the order of their births, from 1
  std::uint32_t by_number = 0, by_due = 0, by_closing = 0;
  bool open = true;
};

struct OrderedByNumber {
  using is_transparent = void;
  static std::int64_t key(const MemoryStream* a) { return a->number; }
  static std::int64_t key(const PageCursor& a) { return a.number; }
  bool operator()(const auto& a, const auto& b) const { return key(a) < key(b); }
};

struct OrderedByDue {
  using is_transparent = void;
  static auto key(const MemoryStream* a) { return std::pair(*a->due, a->number); }
  static auto key(const PageCursor& a) { return std::pair(a.due, a.number); }
  bool operator()(const auto& a, const auto& b) const { return key(a) < key(b); }
};

struct OrderedByClosing {
  bool operator()(const MemoryStream* a, const MemoryStream* b) const {
    return std::tie(a->closed_at, a->number) < std::tie(b->closed_at, b->number);
  }
};

struct MemoryKind {
  std::string name;
  LazyIndex<MemoryStream, OrderedByNumber, &MemoryStream::by_number> open, closed;
  LazyIndex<MemoryStream, OrderedByDue, &MemoryStream::by_due> due;
  LazyIndex<MemoryStream, OrderedByClosing, &MemoryStream::by_closing> closings;

  void insert(MemoryStream& stream) {
    (stream.open ? open : closed).insert(stream);
    if (!stream.open) closings.insert(stream);
    if (stream.due) due.insert(stream);
  }
  void erase(MemoryStream& stream) {
    (stream.open ? open : closed).erase(stream);
    if (!stream.open) closings.erase(stream);
    if (stream.due) due.erase(stream);
  }
};

/// Not synchronised: `MemoryJournal` holds the lock.
class MemoryStreams {
 public:
  MemoryStreams(std::size_t streams_max, std::size_t records_max)
      : streams_max_(streams_max), records_max_(records_max) {}

  /// One lookup by name for each append; the trees are touched only where an index changes.
  Result<void> commit(Batch& batch) {
    if (auto sound = check_batch(batch); !sound) return sound;
    if (batch.effect)
      return Error::fixed(journal_errc::effect_unsupported, ErrorClass::permanent,
                          "a journal in memory has no transaction that an effect could join");
    if (auto accepted = check(batch); !accepted) return accepted;
    for (std::size_t i = 0; i < batch.appends.size(); ++i) apply(batch.appends[i], touched_[i]);
    return {};
  }

  std::vector<Record> read(std::string_view name, std::uint64_t from, std::size_t max) const {
    const auto found = streams_.find(name);
    return found == streams_.end() ? std::vector<Record>() : found->second.records.read(from, max);
  }

  std::optional<StreamHead> head(std::string_view name) const {
    const auto found = streams_.find(name);
    if (found == streams_.end()) return std::nullopt;
    return head_of(found->second);
  }

  /// By the ordered index of what is open or closed, or of what is due; state and attributes are filtered.
  Result<StreamPage> find(const StreamQuery& query) {
    if (auto sound = check_kind(query.kind); !sound) return sound.error();
    MemoryKind* const kind = find_kind(query.kind);
    if (kind == nullptr) return StreamPage{};
    const auto after = parse_cursor(query.after, query.due_before.has_value());
    if (!after) return after.error();
    return query.due_before ? find_due(query, *after, *kind) : find_begun(query, *after, *kind);
  }

  Result<Lease> acquire(const HolderId& holder, Duration ttl, WallTime now) {
    if (auto sound = check_holder(holder); !sound) return sound.error();
    const WallTime forgotten = saturating_add(now, -lease_forgotten_after);
    std::erase_if(leases_, [&](const Lease& lease) { return lease.holder == holder || lease.expires < forgotten; });
    return leases_.emplace_back(Lease{holder, FencingToken{++last_token_}, saturating_add(now, ttl)});
  }

  Result<Lease> renew(const Lease& lease, Duration ttl, WallTime now) {
    Lease* const held = current(lease);
    if (held == nullptr) return lease_lost(lease.holder);
    held->expires = saturating_add(now, ttl);
    return *held;
  }

  Result<void> release(const Lease& lease) {
    if (current(lease) == nullptr) return lease_lost(lease.holder);
    std::erase_if(leases_, [&](const Lease& held) { return held.holder == lease.holder; });
    return {};
  }

  Result<std::vector<ClaimedStream>> claim(const Lease& lease, std::vector<std::string>& names, WallTime now) {
    if (auto sound = check_claim(lease, names); !sound) return sound.error();
    if (current(lease) == nullptr) return lease_lost(lease.holder);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<ClaimedStream> claimed;
    for (std::string& name : names) {
      const auto found = streams_.find(name);
      if (found == streams_.end() || !claimable(found->second, lease, now)) continue;
      last_token_ = std::max(last_token_, static_cast<std::uint64_t>(found->second.token));
      claimed.push_back({std::move(name), {}, found->second.records.size()});
    }
    if (claimed.empty()) return claimed;
    const FencingToken token{++last_token_};
    for (ClaimedStream& entry : claimed) {
      MemoryStream& stream = streams_.find(std::string_view(entry.stream))->second;
      entry.token = stream.token = token;
      stream.holder = lease.holder;
    }
    return claimed;
  }

  Result<std::size_t> prune(const Retention& retention) {
    if (auto sound = check_kind(retention.kind); !sound) return sound.error();
    MemoryKind* const kind = find_kind(retention.kind);
    if (kind == nullptr) return std::size_t{0};
    const auto& oldest = kind->closings.sorted();
    const std::size_t kept_max = static_cast<std::size_t>(
        std::min<std::uint64_t>(retention.closed_kept_max.value_or(~std::uint64_t{0}), oldest.size()));
    std::vector<MemoryStream*> doomed;
    for (MemoryStream* stream : oldest) {
      const bool too_many = oldest.size() - doomed.size() > kept_max;
      const bool too_old = retention.closed_before && stream->closed_at < *retention.closed_before;
      if (doomed.size() >= retention.limit || (!too_many && !too_old)) break;
      doomed.push_back(stream);
    }
    for (MemoryStream* stream : doomed) remove(*stream);
    return doomed.size();
  }

 private:
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };

  Result<void> check(const Batch& batch) {
    touched_.clear();
    std::size_t births = 0, records = 0;
    for (std::size_t i = 0; i < batch.appends.size(); ++i) {
      const Append& append = batch.appends[i];
      const auto found = streams_.find(std::string_view(append.stream));
      touched_.push_back(found == streams_.end() ? nullptr : &found->second);
      if (auto accepted = check(batch, i, touched_.back()); !accepted) return accepted;
      births += append.birth.has_value();
      records += append.records.size();
    }
    if (records > records_max_ - records_ || births > streams_max_ - streams_.size())
      return Error(journal_errc::full, ErrorClass::transient,
                   "the journal in memory is at its limit of " + std::to_string(streams_max_) + " streams or " +
                       std::to_string(records_max_) + " records");
    return {};
  }

  Result<void> check(const Batch& batch, std::size_t position, const MemoryStream* stream) const {
    const Append& append = batch.appends[position];
    if (append.birth) return stream == nullptr ? check_limit(batch, position) : stream_exists(append.stream);
    if (stream == nullptr) return no_such_stream(append.stream);
    if (stream->token != append.token) return fenced(append.stream, stream->token, append.token);
    if (stream->records.size() != append.expected_version)
      return version_conflict(append.stream, stream->records.size(), append.expected_version);
    return {};
  }

  Result<void> check_limit(const Batch& batch, std::size_t position) const {
    const StreamBirth& birth = *batch.appends[position].birth;
    if (birth.open_of_kind_max == std::numeric_limits<std::uint64_t>::max() || !batch.appends[position].index->open)
      return {};
    const MemoryKind* const kind = find_kind(birth.kind);
    const std::uint64_t open = kind == nullptr ? 0 : kind->open.size();
    if (open + opened_before(batch, position) >= birth.open_of_kind_max)
      return kind_full(birth.kind, birth.open_of_kind_max);
    return {};
  }

  void apply(Append& append, MemoryStream* stream) {
    records_ += append.records.size();
    if (append.birth) return begin(append);
    for (const Record& record : append.records) stream->records.push_back(record);
    if (!append.index) return;
    stream->kind->erase(*stream);
    set_index(*stream, std::move(*append.index));
    stream->kind->insert(*stream);
  }

  void begin(Append& append) {
    auto& [name, stream] = *streams_.try_emplace(std::move(append.stream)).first;
    MemoryKind* kind = find_kind(append.birth->kind);
    if (kind == nullptr) {
      kind = kinds_.emplace_back(std::make_unique<MemoryKind>()).get();
      kind->name = append.birth->kind;
    }
    stream.name = &name;
    stream.number = ++last_number_;
    stream.kind = kind;
    stream.holder = std::move(append.birth->holder);
    stream.token = append.token;
    for (const Record& record : append.records) stream.records.push_back(record);
    set_index(stream, std::move(*append.index));
    kind->insert(stream);
  }

  static void set_index(MemoryStream& stream, StreamIndex&& index) {
    if (!index.open && stream.open) stream.closed_at = stream.records.last_at();
    stream.open = index.open;
    stream.state = std::move(index.state);
    stream.due = index.due;
    if (index.attributes) stream.attributes = std::move(*index.attributes);
  }

  void remove(MemoryStream& stream) {
    records_ -= stream.records.size();
    stream.kind->erase(stream);
    streams_.erase(streams_.find(std::string_view(*stream.name)));
  }

  static StreamHead head_of(const MemoryStream& stream) {
    return {*stream.name,
            stream.kind->name,
            stream.state,
            stream.open,
            stream.records.size(),
            stream.holder,
            stream.token,
            stream.due,
            stream.records.first_at(),
            stream.records.last_at(),
            stream.attributes};
  }

  static bool matches(const StreamQuery& query, const MemoryStream& stream) {
    if (query.state && *query.state != stream.state) return false;
    if (query.open && *query.open != stream.open) return false;
    for (const auto& wanted : query.attributes)
      if (std::find(stream.attributes.begin(), stream.attributes.end(), wanted) == stream.attributes.end())
        return false;
    return true;
  }

  static std::size_t page_size(const StreamQuery& query) {
    return std::clamp<std::size_t>(query.limit, 1, find_limit_max);
  }

  /// False where the page is full; then it says where it ended.
  static bool add_to_page(const StreamQuery& query, const MemoryStream& stream, PageCursor& last, StreamPage& page) {
    if (!matches(query, stream)) return true;
    if (page.streams.size() == page_size(query)) {
      page.next = to_text(last, query.due_before.has_value());
      return false;
    }
    page.streams.push_back(head_of(stream));
    last = {stream.number, stream.due.value_or(WallTime::min())};
    return true;
  }

  static StreamPage find_due(const StreamQuery& query, PageCursor last, MemoryKind& kind) {
    const auto& due = kind.due.sorted();
    StreamPage page;
    for (auto at = due.upper_bound(last); at != due.end() && (*at)->due <= query.due_before; ++at)
      if (!add_to_page(query, **at, last, page)) break;
    return page;
  }

  /// What is open and what is closed are two sorted sets: this walks both at once.
  static StreamPage find_begun(const StreamQuery& query, PageCursor last, MemoryKind& kind) {
    const auto& open = kind.open.sorted();
    const auto& closed = kind.closed.sorted();
    auto a = query.open == false ? open.end() : open.upper_bound(last);
    auto b = query.open == true ? closed.end() : closed.upper_bound(last);
    StreamPage page;
    while (a != open.end() || b != closed.end()) {
      const bool take_open = b == closed.end() || (a != open.end() && (*a)->number < (*b)->number);
      if (!add_to_page(query, take_open ? **a++ : **b++, last, page)) break;
    }
    return page;
  }

  MemoryKind* find_kind(std::string_view name) const {
    for (const auto& kind : kinds_)
      if (kind->name == name) return kind.get();
    return nullptr;
  }

  Lease* current(const Lease& lease) {
    for (Lease& held : leases_)
      if (held.holder == lease.holder && held.token == lease.token) return &held;
    return nullptr;
  }

  bool claimable(const MemoryStream& stream, const Lease& lease, WallTime now) const {
    if (!stream.open) return false;
    if (stream.holder.empty() || stream.holder == lease.holder) return true;
    return std::none_of(leases_.begin(), leases_.end(),
                        [&](const Lease& held) { return held.holder == stream.holder && held.expires > now; });
  }

  std::size_t streams_max_, records_max_, records_ = 0;
  std::uint64_t last_token_ = 0;
  std::int64_t last_number_ = 0;
  std::unordered_map<std::string, MemoryStream, NameHash, std::equal_to<>> streams_;
  std::vector<std::unique_ptr<MemoryKind>> kinds_;  ///< a handful
  std::vector<Lease> leases_;                       ///< one for each process or so
  std::vector<MemoryStream*> touched_;  ///< of the batch that is being committed
};

}  // namespace aura::detail
