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

/** How a reader came, as far as the caller knows. A word that is not among these counts as absent. */
struct Context {
  /** `desktop`, `mobile`, `tablet` or `other`. */
  1: string device
  /** What led here: `none`, `internal`, `search`, `social` or `other`. */
  2: string referrer
  /** Articles not to show, at most 1000: what the page shows already, say. */
  3: list<i64> exclude
  /**
   * True if the caller made the reader's id up for this very request. What is kept of the reader ends
   * after minutes then, unless the id comes back; and what they do counts for them alone, not in what
   * others are shown. Absent or false: the reader has been here before.
   */
  4: optional bool first_visit
}

/** One reader asks for one page of one channel. */
struct UserRequest {
  /** Who reads: above 0. */
  1: i64 user_id
  /** Which channel: 0 is "for you", every channel together. */
  2: i32 channel_id
  /** How many articles: 1 to 100. Absent means 10. */
  3: i32 article_num = 10
  /**
   * The moment asked for. The exact stamp of a batch that this reader was shown in this channel: that
   * batch, out of history; but the newest one's within a second of its making asks for a fresh batch.
   * Otherwise 0, a moment of the last hour, or any in the future: a fresh batch. Otherwise: the newest
   * batch recorded at or before it. So a client refreshes with 0 or its own clock, and walks back with
   * the `time_stamp` that it was last given.
   */
  4: i64 time_stamp
  /** How the reader came, and what not to show. */
  5: optional Context context
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

/**
 * Why an article is there, to be said to the reader. Kinds may be added; say nothing about one that
 * you do not know:
 *
 *   popular    many read it just now
 *   read       because this reader read the article `article_id`; those who did went on to this one
 *   taste      from a channel or an author that this reader likes to read
 *   similar    its text is like what this reader reads
 *   fresh      it is new, and few have seen it yet
 *   backlog    what the channel has besides
 *   again      this reader was shown it before, and the channel has nothing else
 */
struct Reason {
  /** One of the kinds above. */
  1: string kind
  /** The article that led here; 0 if none did, or if it is no longer known. */
  2: i64 article_id
}

/** One recommended article. */
struct Article {
  /** The article's id; the web side turns it into a title. */
  1: i64 article_id
  /** What to report when the reader acts on it. */
  2: Track track
  /** Why it is there, if that is known. */
  3: optional Reason reason
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

/** Which articles are read by those who read this one? */
struct SimilarRequest {
  /** Above 0. */
  1: i64 article_id
  /** How many articles: 1 to 100. Absent means 10. */
  2: i32 article_num = 10
}

/** A neighbour of an article. */
struct Neighbour {
  1: i64 article_id
  /** How near it is, for comparing it with others of the same answer. */
  2: double score
}

/** The nearest first. Empty when nothing is known of the article yet. */
struct SimilarResponse {
  1: list<Neighbour> neighbours
}

/** What would this reader be shown now, and why? Nothing is recorded. */
struct ExplainRequest {
  /** Above 0. */
  1: i64 user_id
  /** As in UserRequest. */
  2: i32 channel_id
  /** As in UserRequest. */
  3: i32 article_num = 10
  /** As in UserRequest. */
  4: optional Context context
}

/** An article that would be shown. */
struct Explained {
  1: i64 article_id
  /** The candidate source that it is counted for. */
  2: string source
  3: Reason reason
  /** What the ranker made of it; 0 if it only fills up the batch. */
  4: double score
  /** What the ranker looked at, by name. */
  5: map<string, double> features
  /** What each candidate source that proposed it thinks of it, by the source's name. */
  6: map<string, double> strengths
}

/** An article that was proposed and would not be shown. */
struct Dropped {
  1: i64 article_id
  /** The step at which it fell out: `filter`, `cut` or `mix`. */
  2: string step
  /** Why, in one word. `weaker`: not among the best by score. `crowded_out`: among them, but the
      place went to an article of another channel or author, or to one that few have seen. */
  3: string why
  /** What the ranker made of it, if it came so far. */
  4: optional double score
}

/** One feed, taken apart. */
struct ExplainResponse {
  /** In the order to show them. */
  1: list<Explained> articles
  /** The others, those that came furthest first; 1000 at most. */
  2: list<Dropped> dropped
  /** How long each step took, in milliseconds. */
  3: map<string, double> step_ms
  /** Which variant of the ranking this reader gets; 0 is the ordinary one. */
  4: i32 variant
  /** The ranker's name. */
  5: string model
}

/** The recommender. */
service UserRecommend extends base.BaseService {
  /**
   * One page of a reader's feed. Two calls at once for one reader never return overlapping fresh batches.
   * Error 422 names the field that is out of range; 503 is retryable: a
   * reader of whom very many calls wait gets one as well.
   */
  ArticleResponse user_recommend(1: UserRequest request) throws (1: base.Error error)

  /** Report what readers did. It returns once the accepted events are durable. */
  ReportResponse report(1: ReportRequest request) throws (1: base.Error error)

  /** The neighbours of an article, for its page. */
  SimilarResponse similar_articles(1: SimilarRequest request) throws (1: base.Error error)

  /** A reader's next feed with its reasons, for operators. */
  ExplainResponse explain(1: ExplainRequest request) throws (1: base.Error error)
}
