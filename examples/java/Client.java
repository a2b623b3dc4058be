import java.util.List;
import java.util.stream.Collectors;
import org.apache.thrift.TConfiguration;
import org.apache.thrift.TException;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.transport.TSocket;
import org.apache.thrift.transport.TTransport;
import org.apache.thrift.transport.layered.TFramedTransport;
import org.tidings.idl.base.HealthProbe;
import org.tidings.idl.recommend.ArticleResponse;
import org.tidings.idl.recommend.Event;
import org.tidings.idl.recommend.ReportRequest;
import org.tidings.idl.recommend.UserRecommend;
import org.tidings.idl.recommend.UserRequest;

/**
 * One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
 *
 * <pre>java -jar build/client.jar HOST PORT USER_ID CHANNEL_ID</pre>
 *
 * A connection carries one call at a time; share connections between threads through a pool, never directly.
 */
public final class Client {
    private static final int TIMEOUT_MS = 2000;

    private final UserRecommend.Iface recommender;
    private final long userId;
    private final int channelId;

    private Client(UserRecommend.Iface recommender, long userId, int channelId) {
        this.recommender = recommender;
        this.userId = userId;
        this.channelId = channelId;
    }

    private ArticleResponse ask(long stamp, int articleNum) throws TException {
        return recommender.user_recommend(new UserRequest(userId, channelId, articleNum, stamp));
    }

    private void show() throws TException {
        ArticleResponse fresh = ask(0, 10);
        System.out.println("fresh " + ids(fresh));

        for (long stamp = fresh.time_stamp; stamp != 0; ) {
            ArticleResponse page = ask(stamp, 10);
            System.out.println("history " + stamp + " " + ids(page));
            stamp = page.time_stamp;
        }

        if (!fresh.recommends.isEmpty()) {
            Event click = new Event(fresh.recommends.get(0).track.click, System.currentTimeMillis());
            System.out.println("click " + recommender.report(new ReportRequest(List.of(click))).verdicts.get(0));
        }

        try {
            ask(0, 101);
        } catch (org.tidings.idl.base.Error ex) {
            System.out.println("error " + ex.code + " article_num: " + ex.details.get("article_num"));
        }

        System.out.println("ready " + (recommender.is_healthy(HealthProbe.READINESS) ? "yes" : "no"));
    }

    private static String ids(ArticleResponse page) {
        return page.recommends.stream().map(a -> Long.toString(a.article_id)).collect(Collectors.joining(" "));
    }

    public static void main(String[] args) {
        if (args.length != 4) {
            System.err.println("usage: client HOST PORT USER_ID CHANNEL_ID");
            System.exit(2);
        }
        int port = Integer.parseInt(args[1]);
        try (TTransport transport = new TFramedTransport(
                new TSocket(new TConfiguration(), args[0], port, TIMEOUT_MS, TIMEOUT_MS))) {
            transport.open();
            UserRecommend.Iface recommender = new UserRecommend.Client(new TBinaryProtocol(transport));
            new Client(recommender, Long.parseLong(args[2]), Integer.parseInt(args[3])).show();
        } catch (TException ex) {
            System.err.println("client: " + ex.getMessage());
            System.exit(1);
        }
    }
}
