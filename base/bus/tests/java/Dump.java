// Prints every record of the given segment files as Kafka's own client library reads them, one line each:
//   <offset> <time in ms> <key> <value> [<header name>=<header value> ...]
// Bytes are hexadecimal, `-` is null, `.` is empty. A batch whose checksum is wrong ends it with an error.
// Run: java -cp 'DIR/*' Dump.java FILE...

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

public class Dump {
    public static void main(String[] files) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String file : files) {
            try (FileRecords records = FileRecords.open(new File(file), false)) {
                for (RecordBatch batch : records.batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        record.ensureValid();
                        line(out, record);
                    }
                }
            }
        }
        System.out.print(out);
    }

    private static void line(StringBuilder out, Record record) {
        out.append(record.offset()).append(' ').append(record.timestamp());
        out.append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
        for (Header header : record.headers()) {
            String name = hex(ByteBuffer.wrap(header.key().getBytes(StandardCharsets.UTF_8)));
            byte[] value = header.value();
            out.append(' ').append(name).append('=').append(hex(value == null ? null : ByteBuffer.wrap(value)));
        }
        out.append('\n');
    }

    private static String hex(ByteBuffer bytes) {
        if (bytes == null) {
            return "-";
        }
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return copy.length == 0 ? "." : HexFormat.of().formatHex(copy);
    }
}
