"""A collector of OpenTelemetry, as far as it receives traces: OTLP over gRPC."""

from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


class Collector(TraceServiceServicer):
    """It listens at `address`, and keeps what it gets."""

    def __init__(self, address):
        self.address, self.received = address, []

    def __enter__(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        add_TraceServiceServicer_to_server(self, self.server)
        self.server.add_insecure_port(self.address)
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()

    def Export(self, request, context):
        for of_resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            for scope in of_resource.scope_spans:
                self.received += [(attributes["service.name"], span) for span in scope.spans]
        return ExportTraceServiceResponse()

    def spans(self, trace):
        """The spans of a trace, by the program that they are from and by their names."""
        return {(program, span.name): span for program, span in list(self.received) if span.trace_id == trace}
