# Which articles to show one reader, now or at a moment in the past.
#
# Requests and responses carry ids and tracking tokens only; titles and pictures are the business of
# the web side. Moments are milliseconds since 1970-01-01T00:00:00Z.
namespace py tidings_idl.recommend
namespace java org.tidings.idl.recommend
namespace go tidings.recommend
namespace cpp tidings.recommend
namespace php Tidings.Recommend
namespace rb Tidings.Recommend
namespace perl Tidings.Recommend
namespace js TidingsRecommend

include "base.thrift"

/** One reader asks for one page of one channel. */
struct UserRequest {
  /** Who reads: above 0. */
  1: i64 user_id
  /** Which channel: 0 is "for you", every channel together. */
  2: i32 channel_id
  /** How many articles: 1 to 100. Absent means 10. */
  3: i32 article_num = 10
  /**
   * The moment asked for. Above the stamp of the reader's newest batch (any time in the future counts
   * as now, and so does 0): a fresh batch. At or below it: the newest batch recorded at or before it.
   */
  4: i64 time_stamp
}

/**
 * Tokens to send back when the reader acts on one article. Each is opaque, URL-safe and at most 120 bytes,
 * names the batch, the article, its position and the action, and stays valid for 30 days.
 */
struct Track {
  /** The reader opened the article. */
  1: string click
  /** The reader added it to a collection. */
  2: string collect
  /* 3 was `share`. It is retired: neither the number nor the name may be used again. */
  /**
   * The reader spent time on it. Called `reading`, because a field `read` hides a method of the
   * generated class in Python; JSON over HTTP says `read`.
   */
  4: string reading
  /** The reader liked it. */
  5: string liking
  /** The reader wants no more of it: the article is not shown to this reader again. */
  6: string dislike
}

/** One recommended article. */
struct Article {
  /** The article's id; the web side turns it into a title. */
  1: i64 article_id
  /** What to report when the reader acts on it. */
  2: Track track
}

/** One batch of recommendations, in the order to show them. */
struct ArticleResponse {
  /** Token to report once the batch has been seen. Empty when the batch comes from history. */
  1: string exposure
  /** Stamp of the batch before this one, to be sent as the next `time_stamp` to page back. 0: there is none. */
  2: i64 time_stamp
  /** Fewer than asked for only when the channel has no more. Empty when history has nothing at that moment. */
  3: list<Article> recommends
}

/** Something a reader did, named by a token of a response. */
struct Event {
  /** An exposure, or one string of a Track, exactly as it was received. */
  1: string token
  /** When it happened. 0 or a time in the future counts as now. */
  2: i64 at
  /** For `reading`: how long, in milliseconds. */
  3: optional i32 read_ms
  /**
   * True takes the act back: what it added is subtracted, in whatever order the two arrive. The same token
   * does not act again after that; the token of a newer batch does. An exposure cannot be taken back.
   */
  4: optional bool undone
}

/** What became of one event. */
enum Verdict {
  /** Stored. The same token reported again counts once. */
  ACCEPTED = 1
  /** Not one of our tokens, or changed on the way. Sending it again cannot help. */
  REFUSED = 2
  /** One of ours, but more than 30 days old. */
  EXPIRED = 3
}

/** Behaviour in bulk. */
struct ReportRequest {
  /** 1 to 100 events, in any order. */
  1: list<Event> events
}

/** One verdict for each event, in the order of the request. */
struct ReportResponse {
  1: list<Verdict> verdicts
}

/** The recommender. */
service UserRecommend extends base.BaseService {
  /**
   * One page of a reader's feed. Two calls at once for one reader never return overlapping fresh batches.
   * Error 422 names the field that is out of range; 503 is retryable.
   */
  ArticleResponse user_recommend(1: UserRequest request) throws (1: base.Error error)

  /** Report what readers did. It returns once the accepted events are durable. */
  ReportResponse report(1: ReportRequest request) throws (1: base.Error error)
}
