# Beam's portable job server with its engine, from the jars of infra/runners/pom.xml; Spark's master and workers are of the same jars.
#
#   docker build -f infra/kubernetes/job-server.Dockerfile --build-arg ENGINE=spark -t REPOSITORY/job-server-spark:0.1.0 infra/runners
#   docker build -f infra/kubernetes/job-server.Dockerfile --build-arg ENGINE=flink -t REPOSITORY/job-server-flink:0.1.0 infra/runners
ARG ENGINE=spark
FROM maven:3.9-eclipse-temurin-17 AS jars
ARG ENGINE
# As pipelines/runners/parts.py has them.
ARG BEAM=2.62.0
ARG SPARK=3.5.0
COPY pom.xml /build/pom.xml
RUN mvn -B -q -f /build/pom.xml -P ${ENGINE} -Dbeam=${BEAM} -Dspark=${SPARK} \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=/build/jars

FROM eclipse-temurin:17-jre
COPY --from=jars /build/jars /opt/engine/jars
RUN useradd --uid 10001 --create-home pigment
# Spark's workers start executors with what lies there.
ENV SPARK_HOME=/opt/engine SPARK_SCALA_VERSION=2.12
# Java 17 keeps these closed, and Spark, Flink and Arrow reach into them.
ENV JDK_JAVA_OPTIONS="--add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.lang.invoke=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED --add-opens=java.base/java.net=ALL-UNNAMED --add-opens=java.base/sun.security.action=ALL-UNNAMED"
USER 10001
WORKDIR /tmp
ENTRYPOINT ["java", "-cp", "/opt/engine/jars/*"]
