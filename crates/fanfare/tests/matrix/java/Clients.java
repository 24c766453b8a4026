// The Java clients of the table. A line of standard input, `NUMBER<tab>CLIENT<tab>URL`, subscribes;
// a line of JSON on standard output says what the subscription's program is told.

import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.MessageEvent;
import com.launchdarkly.eventsource.StreamEvent;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

public class Clients {
  // How long a program waits until it subscribes again by hand.
  static final long WAIT_MS = 200;
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  static final OkHttpClient CLIENT = new OkHttpClient();

  public static void main(String[] args) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    OUT.println("{\"ready\":true}");
    for (String line; (line = lines.readLine()) != null; ) {
      String[] command = line.split("\t");
      Runnable subscribe = command[1].equals("okhttp-sse")
          ? () -> new ByHand(command[0], command[2]).subscribe()
          : () -> withLaunchDarkly(command[0], command[2]);
      var thread = new Thread(subscribe);
      thread.setDaemon(true);
      thread.start();
    }
  }

  static void withLaunchDarkly(String at, String url) {
    var builder = new com.launchdarkly.eventsource.EventSource.Builder(
        ConnectStrategy.http(URI.create(url)));
    try (var source = builder.errorStrategy(ErrorStrategy.alwaysContinue()).build()) {
      for (StreamEvent any : source.anyEvents()) {
        if (any instanceof MessageEvent event) {
          told(at, event.getEventName(), event.getData(), event.getLastEventId());
        }
      }
      say(at, "over", "the iterator ends");
    }
  }

  // okhttp-sse does not reconnect: its listener is told, and a program begins again.
  static class ByHand extends EventSourceListener {
    final String at;
    final String url;
    String lastEventId = "";

    ByHand(String at, String url) {
      this.at = at;
      this.url = url;
    }

    void subscribe() {
      var request = new Request.Builder().url(url).header("Last-Event-ID", lastEventId).build();
      EventSources.createFactory(CLIENT).newEventSource(request, this);
    }

    @Override
    public void onEvent(EventSource source, String id, String type, String data) {
      lastEventId = id == null ? lastEventId : id;
      told(at, type == null ? "message" : type, data, id);
    }

    @Override
    public void onClosed(EventSource source) {
      again("onClosed");
    }

    @Override
    public void onFailure(EventSource source, Throwable error, Response answer) {
      if (answer != null && answer.code() == 204) {
        say(at, "over", "onFailure with 204");
      } else {
        again("onFailure: " + error);
      }
    }

    void again(String why) {
      say(at, "again", why);
      try {
        Thread.sleep(WAIT_MS);
      } catch (InterruptedException error) {
        return;
      }
      subscribe();
    }
  }

  static void told(String at, String type, String data, String id) {
    OUT.println("{\"at\":" + json(at) + ",\"type\":" + json(type) + ",\"data\":" + json(data)
        + ",\"id\":" + json(id == null ? "" : id) + "}");
  }

  static void say(String at, String what, String why) {
    OUT.println("{\"at\":" + json(at) + "," + json(what) + ":" + json(why) + "}");
  }

  static String json(String text) {
    var escaped = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\' || c < ' ') {
        escaped.append(String.format("\\u%04x", (int) c));
      } else {
        escaped.append(c);
      }
    }
    return escaped.append('"').toString();
  }
}
